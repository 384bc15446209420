"""Load a batch into RAW: the rows and their ledger row in one transaction, or nothing."""

import logging

from readmit import db, storage
from readmit.batches import claims, ledger
from readmit.intake import slices
from readmit.intake.layout import LANDING_COLUMNS
from readmit.settings import PipelineSettings

log = logging.getLogger("readmit")

# An empty field is the text '', not null: RAW holds what stands in the file.
COPY = (
    f"copy landing.encounters ({', '.join(('_batch_id', '_source_row', *LANDING_COLUMNS))})"
    " from stdin with (format csv, force_not_null *)"
)
LEDGER_ROW = """
    insert into landing.batches (
        batch_id, split, ordinal, first_source_row, last_source_row, n_rows, source_sha256,
        content_sha256, data_source, status, supersedes, loaded_at, dag_run_id, n_erased
    )
    select
        s.batch_id, s.split, s.ordinal, s.first_source_row, s.last_source_row, s.n_rows,
        s.source_sha256, s.content_sha256, src.data_source, 'loaded', s.supersedes,
        clock_timestamp(), c.dag_run_id, s.n_erased
    from landing.slices s
    join landing.sources src using (source_sha256)
    left join landing.claims c on c.build_id = s.batch_id
    where s.batch_id = %(batch_id)s
"""
# A batch that holds at least half of the encounters of a rejected batch of its split is that batch,
# sent again.
SUPERSEDED_BY = """
    update landing.batches as resend
    set supersedes = rejected.batch_id
    from landing.batches as rejected
    where resend.batch_id = %(batch_id)s
      and resend.supersedes is null
      and rejected.status = 'rejected'
      and rejected.split = resend.split
      and (
          select count(*) from landing.encounters as old
          where old._batch_id = rejected.batch_id and exists (
              select 1 from landing.encounters as new
              where new._batch_id = %(batch_id)s and new.encounter_id = old.encounter_id
          )
      ) * 2 >= rejected.n_rows
"""


class ObjectChanged(Exception):
    """The bytes in S3 are not those that the plan was made of."""


def load(batch_id: str, settings: PipelineSettings) -> int:
    """COPY the batch into RAW and write its ledger row, in one transaction.

    A batch that is loaded already stays as it is.

    Returns:
        The number of rows of the batch in RAW: without those of erased patients.

    Raises:
        BatchRejected: the batch was rejected before.
        ObjectChanged: S3 holds other bytes than those that were registered, or none.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        claims.renew_claim(cur, batch_id)  # a second load of the batch waits here
        status, reason = ledger.state(cur, batch_id)
        ledger.stop_if_rejected(batch_id, status, reason)
        cur.execute(
            "select n_rows - n_erased, content_sha256, object_key from landing.slices"
            " where batch_id = %s",
            (batch_id,),
        )
        planned = cur.fetchone()
        if planned is None:
            raise LookupError(
                f"{batch_id}: no such batch is planned;"
                " see `python -m readmit.batches.ledger status`"
            )
        n_rows, content_sha256, key = planned
        if status is None:
            s3 = storage.client("loader", settings)
            try:
                stored = s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=key)
            except s3.exceptions.NoSuchKey as error:
                raise ObjectChanged(_message(batch_id, key, settings, "is gone")) from error
            rows = slices.Checked(stored["Body"])
            # psycopg2 reads blocks only; its types also ask for lines.
            cur.copy_expert(COPY, rows, size=1 << 17)  # type: ignore[arg-type]
            if rows.content_sha256() != content_sha256 or cur.rowcount != n_rows:
                raise ObjectChanged(_message(batch_id, key, settings, "is not what was registered"))
            cur.execute(LEDGER_ROW, {"batch_id": batch_id})
            cur.execute(SUPERSEDED_BY, {"batch_id": batch_id})
            log.info("%s: %d rows copied into landing.encounters", batch_id, n_rows)
        else:
            log.info("%s: its %d rows were loaded before (%s)", batch_id, n_rows, status)
        return int(n_rows)


def _message(batch_id: str, key: str, settings: PipelineSettings, problem: str) -> str:
    return (
        f"{batch_id}: s3://{settings.s3_pipeline_bucket}/{key} {problem}: "
        "submit the same file again, which stores its batches anew (make submit FILE=...)"
    )
