"""Back up and restore everything that is state: the databases and the buckets.

`python -m readmit.ops.backup save FOLDER` writes `FOLDER/<time>/` and keeps the last seven; `restore FOLDER/<time>` puts
one back, `restore FOLDER` the last one.

Needs `pg_dump` and `pg_restore` of the server's version on the PATH. A backup holds passwords of roles.
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

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from readmit import db, storage
from readmit.ops import bootstrap
from readmit.settings import OperationsSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

KEPT = 7
OBJECTS = "objects.json"
# {key: [its ETag in the store, sha256 of its bytes]}
Index = dict[str, list[str]]


class BackupFailed(Exception):
    """A backup could not be made or put back; the message says at which database or object."""


def databases(settings: OperationsSettings) -> tuple[str, ...]:
    """Return the databases that hold state."""
    return (settings.raw_database, settings.clean_database, "mlflow", "airflow")


def buckets(settings: OperationsSettings) -> tuple[str, ...]:
    """Return the buckets that hold state."""
    return (settings.s3_mlflow_bucket, settings.s3_pipeline_bucket)


def save(folder: Path, settings: OperationsSettings, keep: int = KEPT) -> Path:
    """Write a backup below `folder` and return its place; it has its name only when it is whole.

    The databases come first: an object is written before the row that names it, so what they name is in the copy.

    Raises:
        BackupFailed: a database cannot be dumped.
    """
    for left in folder.glob("*.part"):
        shutil.rmtree(left)
    earlier = saved(folder)
    target = folder / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    part = target.with_name(target.name + ".part")
    part.mkdir(parents=True, mode=0o700)
    for name in databases(settings):
        file = str(part / f"{name}.dump")
        _program(
            "pg_dump",
            settings,
            "--format=custom",
            "--compress=6",
            f"--file={file}",
            f"--dbname={name}",
        )
    for bucket in buckets(settings):
        _copy_bucket(bucket, part, earlier[-1] if earlier else None, settings)
    part.rename(target)
    for old in saved(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def saved(folder: Path) -> list[Path]:
    """Return the whole backups below `folder`, oldest first."""
    return sorted(path for path in folder.glob("*Z") if path.is_dir())


def restore(backup: Path, settings: OperationsSettings) -> None:
    """Put a backup back: the databases as they were, the objects that are missing or different.

    Stop what uses the databases first: each one is dropped and made again. Roles are made with today's passwords.

    Raises:
        BackupFailed: a file of the backup is missing or damaged (nothing is touched then), or cannot be put back.
    """
    check(backup, settings)
    bootstrap.bootstrap(settings)
    for name in databases(settings):
        _drop(name, settings)
        file = str(backup / f"{name}.dump")
        _program("pg_restore", settings, "--create", "--exit-on-error", "--dbname=postgres", file)
    bootstrap.bootstrap(settings)  # the user mappings came with the passwords of that day
    storage.ensure_buckets(settings)
    for bucket in buckets(settings):
        _fill_bucket(bucket, backup, settings)


def check(backup: Path, settings: OperationsSettings) -> None:
    """Read the whole backup.

    Raises:
        BackupFailed: a file is missing, or an object's bytes are not those that were saved.
    """
    for name in databases(settings):
        if not (backup / f"{name}.dump").is_file():
            raise BackupFailed(f"{backup} has no dump of {name}")
        _run(["pg_restore", "--list", str(backup / f"{name}.dump")], {}, f"the dump of {name}")
    for bucket in buckets(settings):
        for key, (_, digest) in _index(backup, bucket).items():
            path = backup / bucket / _file(key)
            if not path.is_file() or _sha256(path) != digest:
                raise BackupFailed(f"{backup}: {bucket}/{key} is missing or damaged")


def _copy_bucket(
    bucket: str, part: Path, earlier: Path | None, settings: OperationsSettings
) -> None:
    """Copy a bucket; an object that the earlier backup has already is linked to, not stored twice."""
    s3, place = storage.client(settings), part / bucket
    place.mkdir()
    before = _index(earlier, bucket) if earlier else {}
    index: Index = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            key, etag = found["Key"], found["ETag"]
            path = place / _file(key)
            if earlier and key in before and before[key][0] == etag:
                os.link(earlier / bucket / _file(key), path)
                index[key] = before[key]
            else:
                s3.download_file(bucket, key, str(path))
                index[key] = [etag, _sha256(path)]
    (place / OBJECTS).write_text(json.dumps(index), encoding="utf-8")


def _fill_bucket(bucket: str, backup: Path, settings: OperationsSettings) -> None:
    s3 = storage.client(settings)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    present = {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}
    for key, (etag, _) in _index(backup, bucket).items():
        if present.get(key) != etag:
            s3.upload_file(str(backup / bucket / _file(key)), bucket, key)


def _index(backup: Path, bucket: str) -> Index:
    try:
        return dict(json.loads((backup / bucket / OBJECTS).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BackupFailed(f"{backup} has no copy of the bucket {bucket}") from error


def _file(key: str) -> str:
    """Name a key's file: keys may hold what file names may not."""
    return hashlib.sha256(key.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drop(name: str, settings: OperationsSettings) -> None:
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            cur.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )


def _program(name: str, settings: OperationsSettings, *arguments: str) -> None:
    server = {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": "postgres",
    }
    server["PGPASSWORD"] = db.password("postgres", settings)
    _run([name, "--no-password", *arguments], server, arguments[-1])


def _run(command: list[str], environment: dict[str, str], what: str) -> None:
    try:
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BackupFailed(
            f"{command[0]} is not on the PATH: use the one of the server's version"
        ) from error
    if done.returncode != 0:
        raise BackupFailed(f"{command[0]}, {what}: {done.stderr.strip()[-1000:]}")


def main() -> int:
    """Command line: `save FOLDER`, or `restore` a backup or the last one of a folder."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("save", "restore"):
        print(__doc__, file=sys.stderr)
        return 2
    command, place = sys.argv[1], Path(sys.argv[2])
    settings = OperationsSettings()
    try:
        if command == "save":
            place = save(place, settings)
            pushgateway.report(
                Job.BACKUP,
                lambda: {"readmit_backup_finished_timestamp_seconds": time.time()},
                settings,
            )
        else:
            place = next(reversed(saved(place)), place)
            restore(place, settings)
    except BackupFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{command}: {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
