"""The folder of backups: complete ones, the manifest of each, and the lock of who writes.

A backup is a folder `<time>Z` with a dump of each database, a folder for each bucket, and
`manifest.json`, which names every file with the sha256 of its bytes. It has another name
(`<time>Z.part`) until all of it is on the disk.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

from readmit.ops.sealed_files import CHUNK, Damaged, Sealer, is_sealed

MANIFEST = "manifest.json"
INDEX_OF_0_1_0 = "objects.json"
FORMAT = 2
TIME = "%Y%m%dT%H%M%SZ"
NAMES = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"  # of complete backups: no other folder is touched


class BackupFailed(Exception):
    """A backup or a restore failed; the message names the database or the object."""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    Attributes:
        created_at: when the snapshots were taken, as ISO time.
        dumps: the sha256 of each database's file; empty in a backup of 0.1.0, which had none.
        objects: by bucket and key the object's ETag and the sha256 of its file.
        format: of the folder.
    """

    created_at: str
    dumps: dict[str, str] = field(default_factory=dict)
    objects: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Backup:
    """A backup that was read through, and what reads its files."""

    folder: Path
    manifest: Manifest
    sealer: Sealer


def saved(folder: Path) -> list[Path]:
    """Return the complete backups below `folder`, oldest first."""
    return sorted(path for path in folder.glob(NAMES) if path.is_dir())


def expire(folder: Path, n_kept: int) -> None:
    """Remove all backups but the newest; one whose removal was interrupted is no backup."""
    for backup in saved(folder)[:-n_kept]:
        remains = backup.with_name(backup.name + ".part")
        backup.rename(remains)
        shutil.rmtree(remains)


def time_of(backup: Path) -> datetime:
    """Return the time in a backup's name: when it was begun, by a clock that was right."""
    return datetime.strptime(backup.name, TIME).replace(tzinfo=UTC)


def object_file(backup: Path, bucket: str, key: str) -> Path:
    """Return the file of an object: keys may hold characters that file names may not."""
    return backup / bucket / hashlib.sha256(key.encode()).hexdigest()


def check_writers(folder: Path, sealer: Sealer) -> None:
    """Refuse a folder of plain backups into which every user of the machine may write.

    Who may write there can put a folder of their own into the place of an unfinished backup, and so
    read it, or leave a backup of their own, whose SQL a restore would run as the superuser.

    Raises:
        BackupFailed: it is such a folder.
    """
    if sealer.key is None and folder.stat().st_mode & stat.S_IWOTH:
        raise BackupFailed(
            f"every user of this machine may write into {folder}, and backups there are not"
            f" encrypted: chmod o-w {folder}, or set READMIT_BACKUP_KEY"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of backups: one program writes at a time, or restores what others expire.

    Raises:
        BackupFailed: a backup or a restore is under way.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Nothing is written into it, so a file or a link that others put there loses nothing.
    descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with open(descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupFailed(
                f"another backup into {folder}, or a restore, is under way: try again afterwards"
            ) from None
        yield


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """Make the folder of a new backup; it gets its name when the block ends, and is removed when
    the block fails. What a killed run has left is removed first.

    Names are in the order in which backups were made, also after the clock was put back: the oldest
    expire, and the last is restored.
    """
    for remains in folder.glob(f"{NAMES}.part"):
        shutil.rmtree(remains)
    moment = datetime.now(UTC)
    backups = saved(folder)
    with suppress(IndexError, ValueError):  # there is none, or a person named it
        moment = max(moment, time_of(backups[-1]) + timedelta(seconds=1))
    target = folder / moment.strftime(TIME)
    part = target.with_name(target.name + ".part")
    part.mkdir(mode=0o700)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _sync(part)
    part.rename(target)
    _sync(folder)


def write_manifest(backup: Path, manifest: Manifest, sealer: Sealer) -> None:
    """Write the manifest, the last file of a backup."""
    text = json.dumps(asdict(manifest), sort_keys=True)
    sealer.write(BytesIO(text.encode()), backup / MANIFEST, MANIFEST)


def read_manifest(backup: Path, sealer: Sealer) -> Manifest:
    """Return what a backup holds.

    Raises:
        BackupFailed: it has no manifest, its key is another, or a later release wrote it.
    """
    path = backup / MANIFEST
    if not path.is_file():
        return _manifest_of_0_1_0(backup)
    if is_sealed(path) and sealer.key is None:
        raise BackupFailed(f"{backup} is encrypted: set READMIT_BACKUP_KEY")
    plain = Sealer() if not is_sealed(path) else sealer
    try:
        document = json.loads(plain.read(path, MANIFEST))
        if document["format"] != FORMAT:
            raise BackupFailed(
                f"{backup} has format {document['format']}, this release reads {FORMAT}:"
                " restore it with the release that wrote it"
            )
        return Manifest(**document)
    except Damaged:
        raise BackupFailed(
            f"{backup}: READMIT_BACKUP_KEY is another key than that of the backup, or"
            f" {MANIFEST} is damaged"
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise BackupFailed(f"{backup}: {MANIFEST} is damaged: {error}") from None


def sealer_of(backup: Path, key: bytes | None) -> Sealer:
    """Return what reads a backup: one that was made before there was a key is not encrypted."""
    path = backup / MANIFEST
    if path.is_file() and is_sealed(path):
        return Sealer(key)
    return Sealer()


def check_files(backup: Path, manifest: Manifest) -> None:
    """Read every file of a backup.

    Raises:
        BackupFailed: a file is missing, or its bytes are not those that were written.
    """
    for name, digest in manifest.dumps.items():
        if not has_digest(backup / f"{name}.dump", digest):
            raise BackupFailed(f"{backup}: the dump of {name} is missing or damaged")
    for bucket, objects in manifest.objects.items():
        for key, (_, digest) in objects.items():
            if not has_digest(object_file(backup, bucket, key), digest):
                raise BackupFailed(f"{backup}: {bucket}/{key} is missing or damaged")


def has_digest(path: Path, digest: str) -> bool:
    """Return whether a file exists and has these bytes."""
    if not path.is_file():
        return False
    current = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            current.update(block)
    return current.hexdigest() == digest


def _manifest_of_0_1_0(backup: Path) -> Manifest:
    """Return the manifest of a backup of 0.1.0, which had an index for each bucket and no more."""
    objects = {}
    for path in backup.glob(f"*/{INDEX_OF_0_1_0}"):
        objects[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    if not objects:
        raise BackupFailed(f"{backup} is no backup: it has no {MANIFEST}")
    dumps = {}
    for path in backup.glob("*.dump"):
        with path.open("rb") as file:
            dumps[path.stem] = hashlib.file_digest(file, "sha256").hexdigest()
    return Manifest(time_of(backup).isoformat(), dumps, objects)


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
