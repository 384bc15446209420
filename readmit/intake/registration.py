"""Register a CSV: check it once, cut its new rows into slices, store them in S3 and write the plan.

rows of the file = known + changed + rows of its slices (`readmit.intake.known_rows`)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from psycopg2.extensions import cursor
from psycopg2.extras import execute_values

from readmit import db, storage
from readmit.errors import SourceRefused
from readmit.intake.csv_file import dialect_of, read_blocks
from readmit.intake.csv_rows import Block, NumberedRow, numbered_rows
from readmit.intake.erased_patients import ErasedPatients
from readmit.intake.known_rows import KnownRows
from readmit.intake.profile import check_profile
from readmit.intake.slices import Slice, cut
from readmit.intake.source_copies import write_without
from readmit.intake.source_file import LocalSource, sha256_of
from readmit.settings import PipelineSettings

# Advisory lock: any number that nobody else uses.
REGISTER_LOCK = 7_241_003


class PlannedSlice(NamedTuple):
    """A row of `landing.slices`; the fields have the order of INSERT_SLICES."""

    split: str
    ordinal: int
    batch_id: str
    first_source_row: int
    last_source_row: int
    n_rows: int
    n_erased: int
    content_sha256: str
    object_key: str


INSERT_SOURCE = """
    insert into landing.sources (
        source_sha256, name, data_source, n_rows, n_known, n_changed, object_key, source_dialect
    )
    values (%s, %s, %s, %s, %s, %s, %s, %s)
"""
COPY_DIGESTS = """
    copy landing.row_digests (encounter_key, digest, batch_id, source_row) from stdin
    with (format csv, force_not_null (encounter_key))
"""
INSERT_SLICES = """
    insert into landing.slices (
        source_sha256, split, ordinal, batch_id, first_source_row, last_source_row, n_rows,
        n_erased, content_sha256, object_key, supersedes
    ) values %s
"""


def register_source(
    source: LocalSource,
    settings: PipelineSettings,
    supersedes: str | None = None,
    *,
    is_forced: bool = False,
) -> None:
    """Check the file, cut its new rows into slices, store these and write the plan; once per file.

    A file that is registered already is only stored again, and only while one of its batches is
    not loaded: S3 may have lost the objects.

    Args:
        source: an unpacked CSV.
        settings: where Postgres and S3 are; `batch_size` rows make a train batch.
        supersedes: the rejected batch that this file corrects; the file then makes one batch.
        is_forced: take the file also when its values show that it is a changed copy of the source.

    Raises:
        SourceRefused: the file cannot be read, or is a changed copy; nothing of it is planned.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))
        cur.execute(
            "select n_known + n_changed > 0 from landing.sources where source_sha256 = %s",
            (source.sha256,),
        )
        registered = cur.fetchone()
        if registered:
            [lacks_rows] = registered
            _check_registered(cur, source, supersedes)
            _store_again(cur, source, settings, lacks_rows=lacks_rows)
        else:
            blocks: Iterable[Block] = read_blocks(source.path, source.name)
            if not is_forced:
                blocks = check_profile(blocks, source.name)
            known_rows = KnownRows(cur, source.sha256)
            _store_and_plan(cur, source, known_rows, blocks, settings, supersedes=supersedes)


def _store_and_plan(
    cur: cursor,
    source: LocalSource,
    known_rows: KnownRows,
    blocks: Iterable[Block],
    settings: PipelineSettings,
    *,
    supersedes: str | None,
) -> None:
    """Store the file and its slices and write their plan; remove them if the file is refused."""
    dialect = dialect_of(source.path, source.name).describe(source.packing)
    planned = []
    new_rows = known_rows.new_rows(blocks)
    try:
        erased_patients = ErasedPatients.read(cur, settings)
        uploads = _upload(source, new_rows, settings.batch_size, erased_patients, settings)
        for part, planned_slice in uploads:
            planned.append(planned_slice)  # one by one, as the file may be bad halfway
            cur.copy_expert(COPY_DIGESTS, BytesIO(part.digests))
        if sha256_of(source.path) != source.sha256:
            raise SourceRefused(
                f"{source.name}: the file changed while it was read; submit it once it is complete"
            )
        _check_plan(cur, source, known_rows, planned, supersedes)
    except SourceRefused:
        s3 = storage.client("loader", settings)
        for key in (_file_key(source), *(part.object_key for part in planned)):
            s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=key)
        raise
    n_sliced = sum(part.n_rows for part in planned)
    cur.execute(
        INSERT_SOURCE,
        (
            source.sha256,
            source.name,
            source.data_source,
            n_sliced + known_rows.n_known + known_rows.n_changed,
            known_rows.n_known,
            known_rows.n_changed,
            _file_key(source),
            dialect,
        ),
    )
    rows = [(source.sha256, *part, supersedes) for part in planned]
    execute_values(cur, INSERT_SLICES, rows)


def _store_again(
    cur: cursor, source: LocalSource, settings: PipelineSettings, *, lacks_rows: bool
) -> None:
    """Upload the slices as they were planned, unless all of them are loaded.

    `lacks_rows` tells that not all rows of the file are in its slices.
    """
    cur.execute(
        """
        select
            max(slices.n_rows) filter (where slices.split = 'train'),
            coalesce(bool_and(batches.batch_id is not null), true),
            jsonb_object_agg(slices.batch_id, slices.content_sha256)
        from landing.slices left join landing.batches on slices.batch_id = batches.batch_id
        where slices.source_sha256 = %s
        """,
        (source.sha256,),
    )
    [(planned_batch_size, are_all_loaded, planned_hashes)] = cur.fetchall()
    if are_all_loaded:
        return
    # READMIT_BATCH_SIZE may have changed since.
    batch_size = planned_batch_size or settings.batch_size
    rows = numbered_rows(read_blocks(source.path, source.name))
    if lacks_rows:
        cur.execute(
            "select source_row from landing.row_digests where batch_id = any(%s)",
            ([*planned_hashes],),
        )
        sliced_rows = {row for (row,) in cur}
        rows = (numbered_row for numbered_row in rows if numbered_row[0] in sliced_rows)
    erased_patients = ErasedPatients.read(cur, settings)
    list(
        _upload(source, rows, batch_size, erased_patients, settings, planned_hashes=planned_hashes)
    )


def _upload(
    source: LocalSource,
    rows: Iterable[NumberedRow],
    batch_size: int,
    erased_patients: ErasedPatients,
    settings: PipelineSettings,
    *,
    planned_hashes: Mapping[str, str] | None = None,
) -> Iterator[tuple[Slice, PlannedSlice]]:
    """Upload slice by slice while the file is read, then the file itself.

    Args:
        source: the file.
        rows: those of its rows that belong to a batch.
        batch_size: rows of a train batch.
        erased_patients: whose rows are left out of the slices and of the stored file.
        settings: where S3 is.
        planned_hashes: `content_sha256` by batch of a file that is registered already. A slice with
            another hash is left out: before 0.2.0 quotes that are not needed were part of it.
    """
    s3 = storage.client("loader", settings)
    bucket = settings.s3_pipeline_bucket
    n_erased = 0
    for part in cut(rows, source.sha256, batch_size, erased_patients):
        n_erased += part.n_erased
        if planned_hashes and planned_hashes.get(part.batch_id) != part.content_sha256:
            continue
        key = f"source/{source.sha256}/{part.batch_id}.csv"
        s3.put_object(Bucket=bucket, Key=key, Body=part.body, ContentType="text/csv")
        planned_slice = PlannedSlice(
            split=part.split,
            ordinal=part.ordinal,
            batch_id=part.batch_id,
            first_source_row=part.first_source_row,
            last_source_row=part.last_source_row,
            n_rows=part.n_rows,
            n_erased=part.n_erased,
            content_sha256=part.content_sha256,
            object_key=key,
        )
        yield part, planned_slice
    if n_erased == 0:
        s3.upload_file(str(source.path), bucket, _file_key(source))
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "source.csv"
        write_without(source.path, source.name, erased_patients.__contains__, copy)
        s3.upload_file(str(copy), bucket, _file_key(source))


def _file_key(source: LocalSource) -> str:
    return f"source/{source.sha256}/source.csv"


def _check_plan(
    cur: cursor,
    source: LocalSource,
    known_rows: KnownRows,
    planned: Sequence[PlannedSlice],
    supersedes: str | None,
) -> None:
    """Refuse a file whose batches have the ids of others, or do not replace the rejected batch.

    A batch id has 8 digits of the file's sha256: another file may begin with the same. A resend
    has the same split as the batch that it replaces, and makes one batch only.
    """
    batch_ids = [part.batch_id for part in planned]
    cur.execute(
        "select batch_id from landing.slices where batch_id = any(%s) order by batch_id",
        (batch_ids,),
    )
    taken = [str(row[0]) for row in cur.fetchall()]
    if taken:
        raise SourceRefused(
            f"{source.name}: another file has the batches {', '.join(taken)}, because its sha256"
            " begins with the same 8 digits; submit the rows in another order, or in two files"
        )
    if supersedes is None:
        return
    cur.execute("select split, status from landing.batches where batch_id = %s", (supersedes,))
    row = cur.fetchone()
    if row is None:
        raise SourceRefused(
            f"{source.name}: batch {supersedes} is not in the ledger; "
            "only a rejected batch can be superseded"
        )
    split, status = row
    if status != "rejected":
        raise SourceRefused(
            f"{source.name}: batch {supersedes} is {status}; "
            "only a rejected batch can be superseded"
        )
    if known_rows.n_changed or [part.split for part in planned] != [split]:
        contents = "makes no batch, since all its rows were loaded before"
        if planned:
            contents = f"makes the batches {', '.join(batch_ids)}"
        if known_rows.n_changed:
            contents = f"changes {known_rows.n_changed} rows of other batches"
        raise SourceRefused(
            f"{source.name}: {contents}, but a resend of {supersedes} "
            f"must make one {split} batch; send the rows of that batch only"
        )


def _check_registered(cur: cursor, source: LocalSource, supersedes: str | None) -> None:
    """The batch that a file corrects is recorded when the file is registered, and never after."""
    if supersedes is None:
        return
    cur.execute(
        "select batch_id, supersedes from landing.slices where source_sha256 = %s",
        (source.sha256,),
    )
    registered_slices = cur.fetchall()
    batch_ids = [batch_id for batch_id, _ in registered_slices]
    superseded = [batch_id for _, batch_id in registered_slices]
    if supersedes not in batch_ids and supersedes not in superseded:
        names = ", ".join(batch_ids) or "a file without new rows"
        raise SourceRefused(
            f"{source.name}: is registered as {names} and cannot be made "
            f"a correction of {supersedes} any more; submit it without SUPERSEDES"
        )
