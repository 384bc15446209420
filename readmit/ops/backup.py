"""Back up and restore everything that is state: the databases and the buckets.

`python -m readmit.ops.backup save FOLDER` writes `FOLDER/<time>/` and keeps the newest ones.
`restore FOLDER/<time>` restores one backup, `restore FOLDER` the newest. `check` reads one through.
`forget` drops the databases that the last restore has replaced.

With READMIT_BACKUP_KEY every file is encrypted. A backup that is not encrypted holds passwords of
roles and records of patients in clear.
"""

import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from psycopg2 import OperationalError
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from readmit import db, storage
from readmit.command import explained
from readmit.ops import backup_folder, carried_erasures, pg_programs, restore
from readmit.ops.backup_folder import Backup, BackupFailed, Manifest, saved
from readmit.ops.sealed_files import BadKey, Sealer, decode_key
from readmit.settings import BackupSettings, BadSetting, ModelVerification, OperationsSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

# A publication and a decision touch two databases. Both wait while the snapshots are taken, so no
# snapshot has one half of them. Predictions do not wait.
HALT = "lock table ops.published_batches, ops.promotions in share mode"
SECONDS_FOR_LOCK = 60


def sealer(settings: BackupSettings) -> Sealer:
    """Return what writes new backups.

    Raises:
        BadSetting: the key is no key.
    """
    if settings.readmit_backup_key is None:
        return Sealer()
    try:
        return Sealer(decode_key(settings.readmit_backup_key.get_secret_value()))
    except BadKey as error:
        raise BadSetting(f"READMIT_BACKUP_KEY {error}") from None


def save(folder: Path, settings: BackupSettings) -> Path:
    """Write a backup below `folder`; the backup gets its name only when it is complete.

    The databases come first: an object is written before the row that names it, so every object
    that a dump names is in the copy.

    Args:
        folder: where backups are.
        settings: where Postgres and S3 are, the key, and how many backups are kept.

    Returns:
        The folder of the new backup.

    Raises:
        BackupFailed: a database cannot be dumped, or the disk is full; no backup was removed.
    """
    seal = sealer(settings)
    try:
        with backup_folder.locked(folder):
            backup_folder.check_writers(folder, seal)
            previous = _previous(folder, seal)
            with backup_folder.unfinished(folder) as part:
                manifest = Manifest(datetime.now(UTC).isoformat(timespec="seconds"))
                _dump_databases(part, manifest, seal, settings)
                for bucket in restore.buckets(settings):
                    manifest.objects[bucket] = _copy_bucket(bucket, part, previous, seal, settings)
                backup_folder.write_manifest(part, manifest, seal)
            carried_erasures.remember(folder, settings)
            backup_folder.expire(folder, settings.readmit_backup_keep)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free_mb = shutil.disk_usage(folder).free / 1e6
        raise BackupFailed(
            f"the disk of {folder} is full ({free_mb:.0f} MB free): the backups before are whole;"
            " keep fewer (READMIT_BACKUP_KEEP), or set READMIT_BACKUP_FOLDER to another disk"
        ) from None
    return saved(folder)[-1]


def check(backup: Path, settings: BackupSettings) -> Manifest:
    """Read the whole backup, and return what it holds.

    Raises:
        BackupFailed: a file is missing, its bytes are not those that were saved, or the key is
            another.
    """
    seal = backup_folder.sealer_of(backup, sealer(settings).key)
    manifest = backup_folder.read_manifest(backup, seal)
    for name in restore.databases(settings):
        if name not in manifest.dumps:
            raise BackupFailed(f"{backup} has no dump of {name}")
    for bucket in restore.buckets(settings):
        if bucket not in manifest.objects:
            raise BackupFailed(f"{backup} has no copy of the bucket {bucket}")
    backup_folder.check_files(backup, manifest)
    return manifest


def restore_from(
    path: Path,
    settings: OperationsSettings,
    public_key: str | None = None,
    is_forced: bool = False,
) -> None:
    """Read a backup through and restore it; see `restore.restore`.

    Meanwhile no backup is made beside it, which could expire this one. A folder that is read-only
    needs no lock.
    """
    lock: AbstractContextManager[None] = nullcontext()
    if os.access(path.parent, os.W_OK):
        lock = backup_folder.locked(path.parent)
    with lock:
        seal = backup_folder.sealer_of(path, sealer(settings).key)
        for folder in (path.parent, path):
            backup_folder.check_writers(folder, seal)
        manifest = check(path, settings)
        restore.restore(Backup(path, manifest, seal), settings, public_key, is_forced)


def _dump_databases(part: Path, manifest: Manifest, seal: Sealer, settings: BackupSettings) -> None:
    with _snapshots(settings) as snapshots:
        for name, snapshot in snapshots.items():
            options = ["--format=custom", "--compress=6", f"--snapshot={snapshot}", name]
            subject = f"database {name}"
            with pg_programs.pipe(
                "pg_dump", options, subject, settings, is_written=False
            ) as output:
                file = f"{name}.dump"
                manifest.dumps[name] = seal.write(output, part / file, file)


@contextmanager
def _snapshots(settings: BackupSettings) -> Iterator[dict[str, str]]:
    """Take one moment of all databases; the snapshots hold while the block runs.

    Yields:
        The name of the snapshot by database.
    """
    with ExitStack() as stack:
        halting = stack.enter_context(
            closing(db.connect("postgres", settings.clean_database, settings))
        )
        with halting.cursor() as cur:
            cur.execute(f"set lock_timeout = '{SECONDS_FOR_LOCK}s'")
            try:
                cur.execute(HALT)
            except OperationalError as error:
                raise BackupFailed(
                    f"a publication has not ended within {SECONDS_FOR_LOCK} s: {error}".strip()
                ) from None
        snapshots = {}
        for name in restore.databases(settings):
            connection = stack.enter_context(closing(db.connect("postgres", name, settings)))
            connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
            with connection.cursor() as cur:
                cur.execute("select pg_export_snapshot()")
                [(snapshots[name],)] = cur.fetchall()
        halting.rollback()
        yield snapshots


class _Previous:
    """The backup before: its objects that have not changed become links."""

    def __init__(self, backup: Path, manifest: Manifest) -> None:
        self._backup = backup
        self._objects = manifest.objects

    def link(self, bucket: str, key: str, etag: str, path: Path) -> list[str] | None:
        """Make `path` a link to an object's file and return its entry; None when it has changed, or
        the file is damaged.
        """
        entry = self._objects.get(bucket, {}).get(key)
        file = backup_folder.object_file(self._backup, bucket, key)
        if entry is None or entry[0] != etag or not backup_folder.has_digest(file, entry[1]):
            return None
        try:
            os.link(file, path)
        except OSError:  # a disk without links, or with too many of this file
            shutil.copy2(file, path)
        return entry


def _previous(folder: Path, seal: Sealer) -> _Previous | None:
    """Return the newest backup when its files are written as ours are; None when not."""
    backups = saved(folder)
    if not backups:
        return None
    try:
        manifest = backup_folder.read_manifest(backups[-1], seal)
    except BackupFailed:
        return None
    if backup_folder.sealer_of(backups[-1], seal.key) != seal:
        return None
    return _Previous(backups[-1], manifest)


def _copy_bucket(
    bucket: str, part: Path, previous: _Previous | None, seal: Sealer, settings: BackupSettings
) -> dict[str, list[str]]:
    """Copy a bucket; an object that the previous backup has already becomes a hard link to it."""
    s3 = storage.client("backup", settings)
    (part / bucket).mkdir()
    entries = {}
    for key, etag in restore.etags(s3, bucket).items():
        path = backup_folder.object_file(part, bucket, key)
        entry = previous.link(bucket, key, etag, path) if previous else None
        if entry is None:
            try:
                answer = s3.get_object(Bucket=bucket, Key=key)
            except s3.exceptions.NoSuchKey:
                continue  # deleted since the list was made
            digest = seal.write(answer["Body"], path, f"{bucket}/{path.name}")
            entry = [answer["ETag"], digest]
        entries[key] = entry
    return entries


def report(settings: BackupSettings) -> None:
    """Push the time of a backup that was finished."""
    pushgateway.report(
        Job.BACKUP,
        lambda: {"readmit_backup_finished_timestamp_seconds": time.time()},
        settings,
    )


def newest(path: Path) -> Path:
    """Return a backup: the newest of a folder of backups, or `path` itself."""
    backups = saved(path)
    return backups[-1] if backups else path


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `save FOLDER`, `check` or `restore` a backup or the newest one of a folder."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in ("save", "check", "restore", "forget"):
        print(__doc__, file=sys.stderr)
        return 2
    command = words[0]
    if len(words) != (1 if command == "forget" else 2):
        print(__doc__, file=sys.stderr)
        return 2
    settings = OperationsSettings()
    try:
        if command == "forget":
            print(f"dropped: {', '.join(restore.forget(settings)) or 'nothing'}")
            return 0
        path = Path(words[1])
        if command == "save":
            path = save(path, settings)
            report(settings)
        else:
            path = newest(path)
            if command == "check":
                check(path, settings)
            else:
                public_key = ModelVerification().model_public_key
                restore_from(path, settings, public_key, bool(os.environ.get("READMIT_FORCE")))
    except BackupFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{command}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
