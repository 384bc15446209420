"""Archive old months of predictions as Parquet in the object store, and drop them from Postgres.

A month is written, read back, and only then dropped, in one transaction that counts the rows again.
Killed at any point, the next run writes the month anew. `make erase` reaches the archives.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, cursor
from psycopg2.extensions import connection as Connection

from readmit import db, storage
from readmit.settings import ArchiveSettings, OperationsSettings

if TYPE_CHECKING:
    import pyarrow as pa

ARCHIVES = "archives/predictions/"
ROWS_AT_ONCE = 5_000
# An advisory lock of database `clean`: a month is archived by one program at a time, and no patient
# is erased meanwhile.
ARCHIVE_LOCK = 7_241_009
MONTHS = """
    select distinct date_trunc('month', predicted_at at time zone 'UTC')::date from ops.predictions
    where predicted_at < %s order by 1
"""
COLUMNS = """
    select attname, format_type(atttypid, null) from pg_attribute
    where attrelid = 'ops.predictions'::regclass and attnum > 0 and not attisdropped order by attnum
"""
ROWS = """
    select {} from ops.predictions
    where predicted_at >= %(month)s::timestamp at time zone 'UTC'
        and predicted_at < (%(month)s::timestamp + interval '1 month') at time zone 'UTC'
    order by predicted_at, request_id
"""


class ArchiveDamaged(Exception):
    """The object store has other bytes than were archived; nothing was dropped."""


def archive(settings: ArchiveSettings, now: datetime | None = None) -> dict[str, int]:
    """Archive the months that are wholly older than the settings say.

    Args:
        settings: how long predictions stay, and where Postgres and S3 are.
        now: the time; the present when it is None.

    Returns:
        The number of predictions by the key of the archive.

    Raises:
        ArchiveDamaged: the object store did not keep what it was given.
    """
    age = timedelta(days=settings.readmit_prediction_retention_days)
    first_kept = ((now or datetime.now(UTC)) - age).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(MONTHS, (first_kept,))
        months = [month for (month,) in cur.fetchall()]
    archived = {}
    for month in months:
        key, n_rows = _archive_month(month, settings)
        if n_rows:
            archived[key] = n_rows
    return archived


@contextmanager
def locked(settings: OperationsSettings) -> Iterator[None]:
    """Hold off the archive while the block runs, until a month that is being written is dropped."""
    with (
        closing(db.connect("postgres", settings.clean_database, settings)) as clean,
        clean.cursor() as cur,
    ):
        clean.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        cur.execute("select pg_advisory_lock(%s)", (ARCHIVE_LOCK,))
        yield


def _archive_month(month: date, settings: ArchiveSettings) -> tuple[str, int]:
    """Write a month to the object store and drop it; return its key and number of rows.

    There is no row, and no object, when another run has archived the month meanwhile.
    """
    bucket = settings.s3_pipeline_bucket
    s3 = storage.client("gates", settings)
    with (
        TemporaryDirectory() as folder,
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (ARCHIVE_LOCK,))
        # A month that came late, as after a fault of the clock, lies beside the first archive.
        cur.execute("select count(*) from ops.prediction_archives where month = %s", (month,))
        [(n_before,)] = cur.fetchall()
        key = f"{ARCHIVES}{month:%Y-%m}-{n_before + 1}.parquet"
        path = Path(folder) / "month.parquet"
        n_rows = _write(path, month, clean, cur)
        if n_rows == 0:
            return key, 0
        s3.upload_file(str(path), bucket, key)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        stored = hashlib.sha256()
        for chunk in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            stored.update(chunk)
        if stored.digest() != digest:
            raise ArchiveDamaged(
                f"s3://{bucket}/{key} is not what was archived: it stays in Postgres"
            )
        # The object store of one machine leaves to the system when bytes go to the disk.
        os.sync()
        cur.execute("select ops.drop_archived_predictions(%s, %s, %s)", (month, key, n_rows))
    return key, n_rows


def _write(path: Path, month: date, clean: Connection, cur: cursor) -> int:
    """Write the predictions of a month to a Parquet file, and return their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cur.execute(COLUMNS)
    schema, expressions = _schema(cur.fetchall())
    n_rows = 0
    with clean.cursor("month") as rows_cur, pq.ParquetWriter(path, schema) as writer:
        rows_cur.itersize = ROWS_AT_ONCE
        rows_cur.execute(ROWS.format(", ".join(expressions)), {"month": month})
        while rows := rows_cur.fetchmany(ROWS_AT_ONCE):
            arrays = []
            for number, field in enumerate(schema):
                arrays.append(pa.array([row[number] for row in rows], field.type))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            n_rows += len(rows)
    return n_rows


def _schema(columns: Sequence[tuple[str, str]]) -> tuple["pa.Schema", list[str]]:
    """Return the file's schema, and the SQL of each column: what has no type there is text."""
    import pyarrow as pa

    types = {
        "bigint": pa.int64(),
        "boolean": pa.bool_(),
        "double precision": pa.float64(),
        "integer": pa.int32(),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }
    fields = []
    expressions = []
    for name, sql_type in columns:
        fields.append((name, types.get(sql_type, pa.string())))
        expressions.append(name if sql_type in types else f"{name}::text")
    return pa.schema(fields), expressions
