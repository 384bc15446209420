"""The inbox: the next run submits each file that was put into a folder or into the bucket.

Nothing happens twice: a version of a file is read once, the same content under two names is one
source file, and rows that an earlier file has brought are known. Nothing is lost: no file is moved
or deleted, the original is kept under its hash, and a half-written file is read again when it has
changed. The result is written beside the original, and beside a file of a folder.
"""

import hashlib
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from readmit import db, storage
from readmit.errors import NoRoom, SourceRefused
from readmit.intake import inbox_files
from readmit.intake.erased_patients import ErasedPatients
from readmit.intake.inbox_files import InboxFile
from readmit.intake.source_copies import unpack_without
from readmit.intake.source_file import Fetched, sha256_of
from readmit.intake.sources import register_fetched
from readmit.settings import PipelineSettings

log = logging.getLogger(__name__)

RECEIVED = "received/"


def submit_new_files(settings: PipelineSettings) -> list[str]:
    """Register each file of both inboxes that was not read before.

    A file that a program is still writing waits for the next run. May be repeated at any point.

    Args:
        settings: READMIT_INBOX, and where Postgres and S3 are.

    Returns:
        The reasons of the files that were refused; the ledger has them too.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select address_sha256, version from landing.inbox")
        versions_read = {*cur.fetchall()}
    cache = settings.readmit_home / "sources"
    cache.mkdir(parents=True, exist_ok=True)
    refusals = []
    for file in inbox_files.files(settings):
        if (address_sha256(file.address), file.version) in versions_read:
            continue
        # A temporary folder: two runs at the same time do not share a file.
        with TemporaryDirectory(dir=cache, prefix="inbox-") as folder:
            copy = Path(folder) / "original"
            try:
                is_complete = file.copy_to(copy)
            except NoRoom as refusal:  # the disk is full: the next run tries again
                refusals.append(str(refusal))
                continue
            if not is_complete:
                log.info("inbox: %s is being written; the next run reads it", file.name)
                continue
            reason = submit_copy(file, copy, settings)
            if reason:
                refusals.append(reason)
    return refusals


def submit_copy(file: InboxFile, copy: Path, settings: PipelineSettings) -> str | None:
    """Keep and register one file, and note it in the ledger last.

    Args:
        file: whose version is noted.
        copy: its bytes; nobody else writes to them.
        settings: where Postgres and S3 are.

    Returns:
        Why it was refused; None if it was not.
    """
    fetched = Fetched(copy, file.name, "file", sha256_of(copy))
    source_sha256 = None
    reason = None
    try:
        if file.sent_sha256 not in (None, fetched.sha256):
            raise SourceRefused(
                f"{file.name}: this is not what was sent, its sha256 is {fetched.sha256}: send it"
                " again under another name"
            )
        source_sha256 = register_fetched(fetched, settings)
        log.info("inbox: %s is registered, sha256 %s", file.name, source_sha256)
    except SourceRefused as refusal:
        reason = str(refusal)
        log.warning("inbox: %s", reason)
    keep_original(fetched, settings)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            """
            insert into landing.inbox (
                address_sha256, version, name, folder, file_sha256, source_sha256, reason
            )
            values (%s, %s, %s, %s, %s, %s, %s)
            on conflict do nothing
            """,
            (
                address_sha256(file.address),
                file.version,
                file.name,
                file.folder,
                fetched.sha256,
                source_sha256,
                reason,
            ),
        )
    return reason


def keep_original(fetched: Fetched, settings: PipelineSettings) -> None:
    """Store a file under its hash, unless it may have rows of erased patients.

    It is stored first: an erasure that begins later finds it there.
    """
    s3 = storage.client("loader", settings)
    bucket = settings.s3_pipeline_bucket
    key = f"{RECEIVED}{fetched.sha256}/original"
    s3.upload_file(str(fetched.path), bucket, key)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        erased_patients = ErasedPatients.read(cur, settings)
    if erased_patients.hashes:
        with TemporaryDirectory(dir=fetched.path.parent) as folder:
            rest = Path(folder) / "rest.csv"
            if unpack_without(fetched, erased_patients.__contains__, rest) != 0:
                s3.delete_object(Bucket=bucket, Key=key)
                log.info("inbox: the original of %s is not kept: see `make erase`", fetched.name)


def address_sha256(address: str) -> str:
    """Return the name of a file in the ledger: a path may have bytes that are no text."""
    return hashlib.sha256(os.fsencode(address)).hexdigest()
