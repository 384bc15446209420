"""The ledger of batches: which rows arrived, what became of them, and who works on which batch now.

Holds the rule of docs/batches.md. Every function may be killed at any point and repeated: facts are written in one
transaction each, and where two databases are involved `clean` decides and the ledger in `raw` follows.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import cursor

from readmit import db, slices, storage
from readmit.command import explained
from readmit.errors import BatchRejected
from readmit.layout import LANDING_COLUMNS
from readmit.registry import ensure_source, register_source, submit
from readmit.settings import Settings

__all__ = [
    "AccountingBroken",
    "BuildBusy",
    "BuildLost",
    "Counts",
    "ObjectChanged",
    "begin_build",
    "claim",
    "ensure_source",
    "load",
    "publish",
    "published",
    "register_source",
    "reject",
    "release_claim",
    "repair",
    "submit",
    "waiting",
]

# A run that has not taken its next step for this long is taken for dead; dbt's part of a batch takes about a minute.
# A step that lies further ahead than that was taken before somebody put the clock back, and says nothing either.
LEASE = timedelta(minutes=10)
# Advisory locks: any number that nobody else uses.
CLAIM_LOCK = 7_241_002
LOAD_LOCK = 7_241_004


class BuildBusy(Exception):
    """Another build is under way: dbt builds one batch at a time; try again when it has ended."""


class BuildLost(Exception):
    """What was built is no longer what dbt built last; the next run builds it again."""


class AccountingBroken(Exception):
    """Rows got lost or doubled between two layers: the build must not be published."""


class ObjectChanged(Exception):
    """The bytes in S3 are not those that the plan was made of."""


@dataclass(frozen=True)
class Counts:
    """The accounting of a build: rows = features + quarantined + excluded."""

    n_rows: int
    n_features: int
    n_quarantined: int
    n_excluded: int


# ---------------------------------------------------------------- claims


def claim(dag_run_id: str, settings: Settings | None = None) -> str | None:
    """Take the next batch that waits, or the one that this run already holds; None when nothing waits.

    Two runs never get the same batch: one of them at a time looks, and what it finds is leased to it for `LEASE`.
    """
    known = settings or Settings()
    repair(known)
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        batch_id = _next_open(cur, dag_run_id)
        if batch_id is not None:
            cur.execute(
                "insert into landing.claims (batch_id, dag_run_id) values (%s, %s) on conflict (batch_id)"
                " do update set dag_run_id = excluded.dag_run_id, claimed_at = clock_timestamp()",
                (batch_id, dag_run_id),
            )
        return batch_id


def _next_open(cur: cursor, dag_run_id: str) -> str | None:
    """Find what this run holds, else the first open slice that nobody holds and whose content nobody else brings."""
    cur.execute(
        """
        select batch_id from landing.open_slices
        where copy = 1 and (
            holder is null or holder = %(run)s
            or claimed_at not between clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s
        )
        order by (holder is not distinct from %(run)s) desc, place limit 1
        """,
        {"run": dag_run_id, "lease": LEASE},
    )
    found = cur.fetchone()
    return str(found[0]) if found else None


def release_claim(dag_run_id: str, settings: Settings | None = None) -> None:
    """Give back what a run holds, so that the next run need not wait for the end of the lease."""
    known = settings or Settings()
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("delete from landing.claims where dag_run_id = %s returning batch_id", (dag_run_id,))
        held = [row[0] for row in cur.fetchall()]
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        cur.execute("delete from ops.current_build where batch_id = any(%s)", (held,))


def waiting(settings: Settings | None = None) -> int:
    """Count the batches about which nothing has been decided yet, those in work included."""
    known = settings or Settings()
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("select count(*) from landing.open_slices where copy = 1")
        return _count(cur)


def published(settings: Settings | None = None) -> int:
    """Count the batches that readers see."""
    known = settings or Settings()
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        cur.execute("select count(*) from ops.published_batches where kind = 'batch'")
        return _count(cur)


def _renew(cur: cursor, batch_id: str) -> None:
    cur.execute("update landing.claims set claimed_at = clock_timestamp() where batch_id = %s", (batch_id,))


# ---------------------------------------------------------------- states


def load(batch_id: str, settings: Settings | None = None) -> int:
    """COPY the batch into RAW and write its ledger row, in one transaction; nothing when that is done already.

    Returns:
        The number of rows of the batch.

    Raises:
        BatchRejected: a gate has said no to this batch before.
        ObjectChanged: S3 holds other bytes than those that were registered, or none.
    """
    known = settings or Settings()
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (LOAD_LOCK, batch_id))
        status, reason = _state(cur, batch_id)
        _stop_if_rejected(batch_id, status, reason)
        n_rows, content, key = _planned(cur, batch_id)
        if status is None:
            checked = slices.Checked(_stored(batch_id, key, known))
            _copy(cur, checked)
            if checked.content_sha256() != content or cur.rowcount != n_rows:
                raise ObjectChanged(_changed(batch_id, key, known, "is not what was registered"))
            _write_loaded(cur, batch_id)
        _renew(cur, batch_id)
        return n_rows


def _stored(batch_id: str, key: str, settings: Settings) -> slices.Readable:
    s3 = storage.client(settings)
    try:
        return s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=key)["Body"]
    except s3.exceptions.NoSuchKey as gone:
        raise ObjectChanged(_changed(batch_id, key, settings, "is gone")) from gone


def _changed(batch_id: str, key: str, settings: Settings, what: str) -> str:
    return (
        f"{batch_id}: s3://{settings.s3_pipeline_bucket}/{key} {what}: "
        "hand the same file in again, which stores its batches anew (make submit FILE=...)"
    )


def _copy(cur: cursor, body: slices.Checked) -> None:
    columns = ", ".join(("_batch_id", "_source_row", *LANDING_COLUMNS))
    # An empty field is the text '', not null: RAW holds what stands in the file.
    statement = f"copy landing.encounters ({columns}) from stdin with (format csv, force_not_null *)"
    # psycopg2 reads blocks; it never asks for lines, as its types would have it.
    cur.copy_expert(statement, body, size=1 << 17)  # type: ignore[arg-type]


def _planned(cur: cursor, batch_id: str) -> tuple[int, str, str]:
    cur.execute("select n_rows, content_sha256, object_key from landing.slices where batch_id = %s", (batch_id,))
    found = cur.fetchone()
    if found is None:
        raise LookupError(f"{batch_id}: no such batch is planned; see `python -m readmit.ledger status`")
    return int(found[0]), str(found[1]), str(found[2])


def _write_loaded(cur: cursor, batch_id: str) -> None:
    cur.execute(
        """
        insert into landing.batches (
            batch_id, split, ordinal, first_source_row, last_source_row, n_rows, source_sha256, content_sha256,
            data_source, status, supersedes, loaded_at, dag_run_id
        )
        select
            s.batch_id, s.split, s.ordinal, s.first_source_row, s.last_source_row, s.n_rows, s.source_sha256,
            s.content_sha256, src.data_source, 'loaded', s.supersedes, clock_timestamp(), c.dag_run_id
        from landing.slices s
        join landing.sources src using (source_sha256)
        left join landing.claims c using (batch_id)
        where s.batch_id = %s
        """,
        (batch_id,),
    )
    cur.execute(SUPERSEDED_BY, {"batch_id": batch_id})


# A batch that holds at least half of the encounters of a rejected batch of its split is that batch, sent again.
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


def begin_build(batch_id: str, settings: Settings | None = None) -> None:
    """Make this batch the one that dbt builds. For a published batch dbt is left with nothing to build.

    Raises:
        BuildBusy: another build was begun less than `LEASE` ago and has not ended.
        BatchRejected: the batch is rejected.
    """
    known = settings or Settings()
    status = _touch(batch_id, known)
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        cur.execute("select 1 from ops.published_batches where build_id = %s", (batch_id,))
        if cur.fetchone() is not None or status == "published":
            cur.execute("delete from ops.current_build where build_id = %s", (batch_id,))
            return
        set_current_build(cur, batch_id, batch_id, "batch")


def set_current_build(cur: cursor, build_id: str, batch_id: str, kind: str) -> None:
    """Take the one place of `ops.current_build`, unless another build holds it."""
    cur.execute(
        """
        insert into ops.current_build as held (build_id, batch_id, kind) values (%(build)s, %(batch)s, %(kind)s)
        on conflict (singleton) do update
        set build_id = excluded.build_id, batch_id = excluded.batch_id, kind = excluded.kind,
            set_at = clock_timestamp()
        where held.build_id = excluded.build_id
           or held.set_at not between clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s
           or exists (select 1 from ops.published_batches p where p.build_id = held.build_id)
        """,
        {"build": build_id, "batch": batch_id, "kind": kind, "lease": LEASE},
    )
    if cur.rowcount == 0:
        cur.execute("select build_id, set_at from ops.current_build")
        held = cur.fetchone()
        raise BuildBusy(f"{build_id}: {held[0] if held else 'another build'} is being built; try again in a minute")


def hold_place(cur: cursor, build_id: str) -> None:
    """Keep dbt's place for this build until the transaction ends; a published build needs none.

    Raises:
        BuildLost: a lease has run out, and another build has taken the place or had it: what stands in the tables was
            made without that one.
    """
    cur.execute("select 1 from ops.current_build where build_id = %s for update", (build_id,))
    if cur.fetchone() is None:
        cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
        if cur.fetchone() is None:
            raise BuildLost(f"{build_id}: has lost dbt's place to another build; the next run builds it again")


def ensure_place(build_id: str, settings: Settings | None = None) -> None:
    """Raise `BuildLost` unless dbt's place is this build's; see `hold_place`."""
    known = settings or Settings()
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        hold_place(cur, build_id)


def _touch(batch_id: str, settings: Settings) -> str:
    """Renew the lease and return the status of a batch that must be in the ledger and not rejected."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        status, reason = _state(cur, batch_id)
        if status is None:
            raise LookupError(f"{batch_id}: is not loaded")
        _stop_if_rejected(batch_id, status, reason)
        _renew(cur, batch_id)
        return status


def _state(cur: cursor, batch_id: str) -> tuple[str | None, str]:
    cur.execute("select status, coalesce(reason, '') from landing.batches where batch_id = %s", (batch_id,))
    found = cur.fetchone()
    return (str(found[0]), str(found[1])) if found else (None, "")


def _stop_if_rejected(batch_id: str, status: str | None, reason: str) -> None:
    if status in ("rejected", "superseded"):
        raise BatchRejected(f"{batch_id}: is {status} ({reason}); send the corrected rows as a new file")


def reject(batch_id: str, reason: str, settings: Settings | None = None) -> None:
    """Write a gate's no into the ledger. Rows stay in RAW as evidence; what dbt made of them is removed."""
    known = settings or Settings()
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        cur.execute("select ops.discard_build(%s)", (batch_id,))
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute(
            "update landing.batches set status = 'rejected', reason = %s where batch_id = %s and status = 'loaded'",
            (reason, batch_id),
        )
        cur.execute("delete from landing.claims where batch_id = %s", (batch_id,))


def publish(batch_id: str, settings: Settings | None = None) -> Counts:
    """Make a batch visible: one row in `clean`, then the ledger follows.

    Raises:
        BatchRejected: the batch is rejected.
        BuildLost: another batch or release was built since.
        LookupError: it is not loaded.
    """
    known = settings or Settings()
    _touch(batch_id, known)
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        hold_place(cur, batch_id)
        counts = count_build(cur, batch_id, batch_id)
        publish_build(cur, batch_id, batch_id, "batch", counts)
    follow([batch_id], known)
    return counts


def publish_build(cur: cursor, build_id: str, batch_id: str, kind: str, counts: Counts) -> None:
    """Throw the switch for one build (see ops.publish_build)."""
    figures = (counts.n_rows, counts.n_features, counts.n_quarantined, counts.n_excluded)
    cur.execute("select ops.publish_build(%s, %s, %s, %s, %s, %s, %s)", (build_id, batch_id, kind, *figures))


def count_build(cur: cursor, build_id: str, batch_id: str) -> Counts:
    """Count what became of the rows of a batch once this build is published.

    Raises:
        AccountingBroken: rows in RAW are not features + quarantined + excluded.
    """
    cur.execute("select n_rows from raw.batches where batch_id = %s", (batch_id,))
    n_rows = _count(cur)
    # A released row stands twice, as it came and as it was corrected: what passed is what counts.
    cur.execute(
        """
        select
            count(*) filter (where verdict = 'valid'),
            count(*) filter (where verdict = 'quarantined'),
            count(*) filter (where verdict = 'excluded')
        from (
            select distinct on (_source_row) verdict from staging.stg_uci__encounters as staged
            where _batch_id = %s and (
                _build_id = %s
                or exists (select from ops.published_batches as p where p.build_id = staged._build_id)
            )
            order by _source_row, verdict = 'quarantined'
        ) as row_verdicts
        """,
        (batch_id, build_id),
    )
    n_valid, n_quarantined, n_excluded = cur.fetchone() or (0, 0, 0)
    counts = Counts(n_rows, int(n_valid), int(n_quarantined), int(n_excluded))
    _check_accounting(cur, build_id, batch_id, counts)
    return counts


def _check_accounting(cur: cursor, build_id: str, batch_id: str, counts: Counts) -> None:
    total = counts.n_features + counts.n_quarantined + counts.n_excluded
    if total != counts.n_rows:
        raise AccountingBroken(f"{build_id}: {counts.n_rows} rows arrived, but {total} are accounted for ({counts})")
    cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
    if build_id != batch_id or cur.fetchone() is not None:
        return  # a release rewrites some rows only; rows of a published batch may stand in later builds
    cur.execute(
        "select count(*) from intermediate.int_encounters__features where _build_id = %s and _batch_id = %s",
        (build_id, batch_id),
    )
    if (n_features := _count(cur)) != counts.n_features:
        raise AccountingBroken(f"{build_id}: {counts.n_features} rows are valid, but {n_features} are features")


def repair(settings: Settings | None = None) -> list[str]:
    """Bring the ledger up to what `clean` has published, after a crash between the two; return what was repaired."""
    known = settings or Settings()
    with db.transaction("loader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("select batch_id from landing.batches where status = 'loaded'")
        loaded = [str(row[0]) for row in cur.fetchall()]
    with db.transaction("publisher", known.clean_database, known) as clean, clean.cursor() as cur:
        cur.execute("select distinct batch_id from ops.published_batches where kind = 'release'")
        released = [str(row[0]) for row in cur.fetchall()]
    return follow(loaded + released, known) if loaded + released else []


def follow(batch_ids: list[str], settings: Settings) -> list[str]:
    """Copy what `clean` says of these batches, releases included, into the ledger; return those that it did not know.

    A release takes rows out of quarantine and may find them excluded: the fewest and the most are the latest.
    """
    with db.transaction("publisher", settings.clean_database, settings) as clean, clean.cursor() as cur:
        cur.execute(
            "select batch_id, min(published_at), min(n_quarantined), max(n_excluded) from ops.published_batches"
            " where batch_id = any(%s) group by batch_id",
            (batch_ids,),
        )
        published = cur.fetchall()
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        return [str(row[0]) for row in published if _mark_published(cur, *row)]


def _mark_published(cur: cursor, batch_id: str, published_at: datetime, n_quarantined: int, n_excluded: int) -> bool:
    """Return whether the ledger did not say so already."""
    facts = {"batch": batch_id, "at": published_at, "quarantined": n_quarantined, "excluded": n_excluded}
    cur.execute(
        """
        update landing.batches
        set status = 'published', published_at = %(at)s, n_quarantined = %(quarantined)s, n_excluded = %(excluded)s,
            reason = null
        where batch_id = %(batch)s and (
            status = 'loaded'
            or status = 'published' and (n_quarantined, n_excluded) is distinct from (%(quarantined)s, %(excluded)s)
        )
        """,
        facts,
    )
    is_news = bool(cur.rowcount)
    cur.execute(
        "update landing.batches set status = 'superseded' where status = 'rejected'"
        " and batch_id = (select supersedes from landing.batches where batch_id = %(batch)s)",
        facts,
    )
    cur.execute("delete from landing.claims where batch_id = %(batch)s", facts)
    return is_news


def _count(cur: cursor) -> int:
    found = cur.fetchone()
    return int(found[0]) if found else 0


# ---------------------------------------------------------------- command line


def status_table(settings: Settings | None = None) -> str:
    """Return what was planned, loaded and refused, one line per batch, as text."""
    known = settings or Settings()
    with db.transaction("reader", known.raw_database, known) as raw, raw.cursor() as cur:
        cur.execute("select * from landing.overview order by place nulls last, batch_id")
        rows = [tuple("" if value is None else str(value)[:160] for value in row[:-1]) for row in cur.fetchall()]
    header = ("batch", "rows", "status", "quarantined", "excluded", "data", "supersedes", "reason")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `status`, `submit FILE [--supersedes BATCH_ID]`, `repair`."""
    parser = argparse.ArgumentParser(prog="python -m readmit.ledger", description="The ledger of batches.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="print what was planned, loaded, published, rejected and refused")
    commands.add_parser("repair", help="bring the ledger up to what is published, after a crash")
    submitting = commands.add_parser("submit", help="register one more file: its batches wait for the next runs")
    submitting.add_argument("file", help="path or address of a CSV or zip")
    submitting.add_argument("--supersedes", metavar="BATCH_ID", help="the rejected batch that this file corrects")
    given = parser.parse_args(arguments)
    if given.command == "submit":
        print(f"registered {submit(given.file, given.supersedes)}; {waiting()} batches wait")
    elif given.command == "repair":
        print("repaired: " + (", ".join(repair()) or "nothing to repair"))
    else:
        print(status_table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
