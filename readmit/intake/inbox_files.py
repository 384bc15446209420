"""The two inboxes: files in the folder READMIT_INBOX, and objects of the bucket below `inbox/`.

Whoever writes there stays the owner: nothing is moved, changed or deleted. `version` changes with
each write, so that a file is read once, and again when it has changed.
"""

import errno
import fcntl
import logging
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, Protocol

from botocore.exceptions import ClientError

from readmit import storage
from readmit.errors import printable
from readmit.intake.disk_space import Disk
from readmit.intake.inbox_names import PREFIX, is_ignored
from readmit.settings import PipelineSettings

log = logging.getLogger(__name__)

# Where nobody can tell whether a file is open for writing, it is read when it has not changed for
# so many seconds.
SETTLED_SECONDS = 10.0


class InboxFile(Protocol):
    """One version of a file in an inbox."""

    @property
    def address(self) -> str:
        """Return the path or the key, by which the ledger knows the file."""
        ...

    @property
    def name(self) -> str:
        """Return the name that its owner knows it by."""
        ...

    @property
    def folder(self) -> str | None:
        """Return the folder of this machine that the file lies in."""
        ...

    @property
    def version(self) -> str:
        """Return a text that no other content of this file has."""
        ...

    @property
    def sent_sha256(self) -> str | None:
        """Return the hash of what was sent, where the address tells it."""
        ...

    def copy_to(self, target: Path) -> bool:
        """Copy the file; return whether it was complete and this version until the end."""
        ...


@dataclass(frozen=True)
class FolderFile:
    """A file of this machine."""

    path: Path
    version: str

    @property
    def address(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """Return the name without its folder, as text."""
        return printable(self.path.name)

    @property
    def folder(self) -> str | None:
        """Return the folder, as text."""
        return printable(str(self.path.parent))

    @property
    def sent_sha256(self) -> str | None:
        """Return None: a path does not tell it."""
        return None

    def copy_to(self, target: Path) -> bool:
        """Copy the file, unless a program is writing it."""
        try:
            file = open_plain(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:  # a link took its place, or this user may not read it
            log.warning("inbox: %s cannot be read: %s", self.name, error.strerror)
            return False
        with file:
            descriptor = file.fileno()
            if is_being_written(file) or version_of(os.fstat(descriptor)) != self.version:
                return False
            Disk.below(target.parent).ensure_room(self.name, os.fstat(descriptor).st_size)
            with target.open("wb") as copy:
                copyfileobj(file, copy, 1 << 20)
            return version_of(os.fstat(descriptor)) == self.version


@dataclass(frozen=True)
class BucketFile:
    """An object of the bucket. It is written as a whole, so it is never half there."""

    key: str
    version: str
    settings: PipelineSettings

    @property
    def address(self) -> str:
        """Return the key with its bucket."""
        return f"s3://{self.settings.s3_pipeline_bucket}/{self.key}"

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return printable(self.key.rpartition("/")[2])

    @property
    def folder(self) -> str | None:
        """Return None: no folder of this machine has it."""
        return None

    @property
    def sent_sha256(self) -> str | None:
        """Return the hash in the key, which the API writes: `inbox/<sha256>/<name>`."""
        match = re.fullmatch(rf"{PREFIX}([0-9a-f]{{64}})/[^/]+", self.key)
        return match.group(1) if match else None

    def copy_to(self, target: Path) -> bool:
        """Copy the object, unless another took its place."""
        s3 = storage.client("loader", self.settings)
        try:
            answer = s3.get_object(Bucket=self.settings.s3_pipeline_bucket, Key=self.key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return False
            raise
        if answer["ETag"] != self.version:
            return False
        Disk.below(target.parent).ensure_room(self.name, answer["ContentLength"])
        with target.open("wb") as copy:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                copy.write(chunk)
        return True


def files(settings: PipelineSettings) -> Iterator[InboxFile]:
    """Yield what lies in both inboxes, oldest first in each."""
    if settings.inbox is not None and not settings.inbox.is_dir():
        log.warning("READMIT_INBOX: %s is no folder of this machine", settings.inbox)
    elif settings.inbox is not None:
        yield from folder_files(settings.inbox)
    yield from bucket_files(settings)


def folder_files(folder: Path) -> list[FolderFile]:
    """Return the regular files of a folder, oldest first; folders in it are left alone."""
    dated_files = []
    for entry in os.scandir(folder):
        if is_ignored(entry.name):
            continue
        if not entry.is_file(follow_symlinks=False):
            if not entry.is_dir(follow_symlinks=False):
                name = printable(entry.name)
                log.warning("inbox: %s is a link or a pipe, which nobody reads: put a file", name)
            continue
        status = entry.stat(follow_symlinks=False)
        dated_files.append((status.st_mtime_ns, entry.name, version_of(status)))
    return [FolderFile(folder / name, version) for _, name, version in sorted(dated_files)]


def bucket_files(settings: PipelineSettings) -> list[BucketFile]:
    """Return the objects below `inbox/`, oldest first."""
    pages = storage.client("loader", settings).get_paginator("list_objects_v2")
    dated_files = []
    try:
        for page in pages.paginate(Bucket=settings.s3_pipeline_bucket, Prefix=PREFIX):
            for entry in page.get("Contents", []):
                if is_ignored(entry["Key"].rpartition("/")[2]):
                    continue
                dated_files.append((entry["LastModified"], entry["Key"], entry["ETag"]))
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        # A store that was set up before 0.2.0, or that is not ours.
        log.warning("the store does not let the identity `loader` list %s", PREFIX)
    return [BucketFile(key, version, settings) for _, key, version in sorted(dated_files)]


def open_plain(path: Path) -> BinaryIO:
    """Open a file to read it: a link could lead out of the folder, and a pipe would never end.

    Raises:
        OSError: it is a link or something else that is no file, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file")
    return open(descriptor, "rb")


def version_of(status: os.stat_result) -> str:
    """Return what changes with each write to a file, also when its old times are set again."""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def is_being_written(file: BinaryIO) -> bool:
    """Tell whether another program has a file open for writing, or may write to it again soon."""
    status = os.fstat(file.fileno())
    has_settled = abs(time.time() - status.st_ctime) >= SETTLED_SECONDS
    if not stat.S_ISREG(status.st_mode):
        return True
    if sys.platform != "linux":  # the others have no leases
        return not has_settled
    try:
        # A lease is granted only while nobody has the file open for writing. Who opens it then
        # sends a signal here; SIGURG is ignored, SIGIO would end the process.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # Another user's file, or a file system without leases.
        return error.errno == errno.EAGAIN or not has_settled
    return status.st_size == 0 and not has_settled
