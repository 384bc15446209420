"""Back up and restore everything that is state: the databases and the buckets.

`python -m readmit.ops.backup save FOLDER` writes `FOLDER/<time>/` and keeps the newest seven.
`restore FOLDER/<time>` restores one backup, `restore FOLDER` the newest.

Needs `pg_dump` and `pg_restore` of the server's version on the PATH. A backup holds passwords of
roles.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from readmit import db, storage
from readmit.ops import bootstrap
from readmit.settings import OperationsSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_BACKUPS = 7
INDEX_FILE = "objects.json"
# {key: [its ETag in the store, sha256 of its bytes]}
Index = dict[str, list[str]]


class BackupFailed(Exception):
    """A backup or a restore failed; the message names the database or the object."""


def databases(settings: OperationsSettings) -> tuple[str, ...]:
    """Return the databases that hold state."""
    return (settings.raw_database, settings.clean_database, "mlflow", "airflow")


def buckets(settings: OperationsSettings) -> tuple[str, ...]:
    """Return the buckets that hold state."""
    return (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket)


def save(folder: Path, settings: OperationsSettings, keep: int = MAX_BACKUPS) -> Path:
    """Write a backup below `folder`; the backup gets its name only when it is complete.

    The databases come first: an object is written before the row that names it, so every object
    that a dump names is in the copy.

    Args:
        folder: where backups are.
        settings: where Postgres and S3 are.
        keep: the number of backups to keep; older ones are removed.

    Returns:
        The folder of the new backup.

    Raises:
        BackupFailed: a database cannot be dumped.
    """
    for unfinished in folder.glob("*.part"):
        shutil.rmtree(unfinished)
    earlier_backups = saved(folder)
    previous = earlier_backups[-1] if earlier_backups else None
    target = folder / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    part = target.with_name(target.name + ".part")
    part.mkdir(parents=True, mode=0o700)
    for name in databases(settings):
        dump = part / f"{name}.dump"
        options = ["--format=custom", "--compress=6", f"--file={dump}", f"--dbname={name}"]
        _run_on_server("pg_dump", options, name, settings)
    for bucket in buckets(settings):
        _copy_bucket(bucket, part, previous, settings)
    part.rename(target)
    for expired in saved(folder)[:-keep]:
        shutil.rmtree(expired)
    return target


def saved(folder: Path) -> list[Path]:
    """Return the complete backups below `folder`, oldest first."""
    return sorted(path for path in folder.glob("*Z") if path.is_dir())


def restore(backup: Path, settings: OperationsSettings) -> None:
    """Restore the databases as they were, and the objects that are missing or different.

    Stop the programs that use the databases first: each database is dropped and created again.
    Roles get the passwords of today's settings.

    Raises:
        BackupFailed: a file of the backup is missing or damaged (then nothing is changed), or a
            database cannot be restored.
    """
    check(backup, settings)
    bootstrap.bootstrap(settings)
    for name in databases(settings):
        drop_database(name, settings)
        options = ["--create", "--exit-on-error", "--dbname=postgres", str(backup / f"{name}.dump")]
        _run_on_server("pg_restore", options, name, settings)
    # The user mappings came with the passwords of the day of the backup.
    bootstrap.bootstrap(settings)
    storage.ensure_buckets(settings)
    s3 = storage.client("admin", settings)
    for bucket in buckets(settings):
        present = _etags(s3, bucket)
        for key, (etag, _) in _read_index(backup, bucket).items():
            if present.get(key) != etag:
                s3.upload_file(str(backup / bucket / _file_name(key)), bucket, key)


def drop_database(name: str, settings: OperationsSettings) -> None:
    """Drop a database, and end the connections to it."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            cur.execute(statement)


def check(backup: Path, settings: OperationsSettings) -> None:
    """Read the whole backup.

    Raises:
        BackupFailed: a file is missing, or an object's bytes are not those that were saved.
    """
    for name in databases(settings):
        dump = backup / f"{name}.dump"
        if not dump.is_file():
            raise BackupFailed(f"{backup} has no dump of {name}")
        _run(["pg_restore", "--list", str(dump)], {}, f"the dump of {name}")
    for bucket in buckets(settings):
        for key, (_, digest) in _read_index(backup, bucket).items():
            path = backup / bucket / _file_name(key)
            if not path.is_file() or _sha256(path) != digest:
                raise BackupFailed(f"{backup}: {bucket}/{key} is missing or damaged")


def _copy_bucket(
    bucket: str, part: Path, previous: Path | None, settings: OperationsSettings
) -> None:
    """Copy a bucket; an object that the previous backup has already becomes a hard link to it."""
    s3 = storage.client("backup", settings)
    folder = part / bucket
    folder.mkdir()
    previous_index = _read_index(previous, bucket) if previous else {}
    index: Index = {}
    for key, etag in _etags(s3, bucket).items():
        path = folder / _file_name(key)
        if previous and key in previous_index and previous_index[key][0] == etag:
            os.link(previous / bucket / _file_name(key), path)
            index[key] = previous_index[key]
        else:
            s3.download_file(bucket, key, str(path))
            index[key] = [etag, _sha256(path)]
    (folder / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")


def _etags(s3: "S3Client", bucket: str) -> dict[str, str]:
    """Return the ETag of each object of a bucket."""
    etags = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            etags[entry["Key"]] = entry["ETag"]
    return etags


def _read_index(backup: Path, bucket: str) -> Index:
    try:
        return dict(json.loads((backup / bucket / INDEX_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BackupFailed(f"{backup} has no copy of the bucket {bucket}") from error


def _file_name(key: str) -> str:
    """Return the file name for a key: keys may hold characters that file names may not."""
    return hashlib.sha256(key.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run_on_server(
    program: str, options: list[str], database: str, settings: OperationsSettings
) -> None:
    """Run a program of Postgres as superuser."""
    server = {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": "postgres",
        "PGPASSWORD": db.password("postgres", settings),
    }
    _run([program, "--no-password", *options], server, f"database {database}")


def _run(command: list[str], environment: dict[str, str], subject: str) -> None:
    try:
        process = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BackupFailed(
            f"{command[0]} is not on the PATH: use the one of the server's version"
        ) from error
    if process.returncode != 0:
        raise BackupFailed(f"{command[0]}, {subject}: {process.stderr.strip()[-1000:]}")


def main() -> int:
    """Command line: `save FOLDER`, or `restore` a backup or the newest one of a folder."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("save", "restore"):
        print(__doc__, file=sys.stderr)
        return 2
    command = sys.argv[1]
    path = Path(sys.argv[2])
    settings = OperationsSettings()
    try:
        if command == "save":
            path = save(path, settings)
            pushgateway.report(
                Job.BACKUP,
                lambda: {"readmit_backup_finished_timestamp_seconds": time.time()},
                settings,
            )
        else:
            backups = saved(path)
            path = backups[-1] if backups else path
            restore(path, settings)
    except BackupFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{command}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
