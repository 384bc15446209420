"""What became of the files of the inbox: the result of each, written beside its original."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import NamedTuple, TypedDict

from psycopg2.extensions import cursor

from readmit import db, storage
from readmit.intake.inbox import RECEIVED
from readmit.settings import PipelineSettings

log = logging.getLogger(__name__)

# What is still to change: a batch that was rejected may be judged again.
OPEN = """
    select
        address_sha256, version, name, folder, file_sha256, source_sha256, reason,
        to_char(received_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), result
    from landing.inbox
    where result is null or result ->> 'state' in ('waiting', 'rejected')
    order by received_at
"""


class BatchResult(TypedDict):
    """The verdict on one batch of a file; `reason` is None unless it was rejected."""

    batch_id: str
    status: str
    reason: str | None


class InboxResult(TypedDict):
    """What became of one file.

    `state` is refused (nothing of it is loaded), known (no row is new), waiting, published, or
    rejected (one of its batches was). `reason` tells why it was refused or rejected.
    """

    name: str
    file_sha256: str
    source_sha256: str | None
    received_at: str
    state: str
    reason: str | None
    n_rows: int
    n_known: int
    n_changed: int
    batches: list[BatchResult]


class InboxRow(NamedTuple):
    """A row of `landing.inbox`."""

    address_sha256: str
    version: str
    name: str
    folder: str | None
    file_sha256: str
    source_sha256: str | None
    reason: str | None
    received_at: str
    result: InboxResult | None


def is_any_open(settings: PipelineSettings) -> bool:
    """Tell whether `write_results` has something to write although no build waits."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select exists (select from landing.inbox"
            " where result is null or result ->> 'state' = 'waiting')"
        )
        return cur.fetchall() == [(True,)]


def may_change(settings: PipelineSettings) -> bool:
    """Tell whether `write_results` can have something to write once a build is decided."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(OPEN)
        return cur.fetchone() is not None


def write_results(settings: PipelineSettings) -> list[InboxResult]:
    """Write what has changed since the last time; may be repeated at any point.

    In the bucket a result is `received/<sha256>/result.json`; in a folder it is `NAME.result.json`.

    Returns:
        The results that were written.
    """
    s3 = storage.client("loader", settings)
    written = []
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(OPEN)
        for row in [InboxRow(*values) for values in cur.fetchall()]:
            result = _result_of(cur, row)
            if result == row.result:
                continue
            text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
            s3.put_object(
                Bucket=settings.s3_pipeline_bucket,
                Key=f"{RECEIVED}{row.file_sha256}/result.json",
                Body=text.encode(),
                ContentType="application/json",
            )
            if row.folder:
                write_beside(Path(row.folder, row.name), text)
            cur.execute(
                "update landing.inbox set result = %s where address_sha256 = %s and version = %s",
                (json.dumps(result), row.address_sha256, row.version),
            )
            written.append(result)
    return written


def write_beside(file: Path, text: str) -> None:
    """Write the result beside a file of a folder, for those who may read the file.

    Nothing is written when the file or its folder is gone, or this user may not write there.
    """
    part = None
    try:
        mode = file.stat(follow_symlinks=False).st_mode
        # Others may write into this folder. A new file is opened once, by a name that was free, and
        # takes the place of a link of that name: no link of theirs is ever followed.
        descriptor, part = mkstemp(dir=file.parent, prefix=".")
        with open(descriptor, "w", encoding="utf-8") as result:
            result.write(text)
            os.fchmod(descriptor, mode & 0o666)
        os.replace(part, file.with_name(f"{file.name}.result.json"))
    except OSError as error:
        log.warning("inbox: no result beside %s: %s", file, error.strerror)
        if part is not None:
            Path(part).unlink(missing_ok=True)


def _result_of(cur: cursor, row: InboxRow) -> InboxResult:
    cur.execute(
        "select n_rows, n_known, n_changed from landing.sources where source_sha256 = %s",
        (row.source_sha256,),
    )
    n_rows, n_known, n_changed = cur.fetchone() or (0, 0, 0)
    cur.execute(
        "select batch_id, status, overview.reason"
        " from landing.overview inner join landing.slices using (batch_id)"
        " where source_sha256 = %s order by queue_position",
        (row.source_sha256,),
    )
    batches = []
    for batch_id, status, reason in cur.fetchall():
        batches.append(BatchResult(batch_id=batch_id, status=status, reason=reason))
    reasons = [batch["reason"] for batch in batches if batch["status"] == "rejected"]
    return InboxResult(
        name=row.name,
        file_sha256=row.file_sha256,
        source_sha256=row.source_sha256,
        received_at=row.received_at,
        state=state_of(row.reason, [batch["status"] for batch in batches]),
        reason=row.reason or next(iter(reasons), None),
        n_rows=n_rows,
        n_known=n_known,
        n_changed=n_changed,
        batches=batches,
    )


def state_of(refusal: str | None, statuses: Sequence[str]) -> str:
    """Return the state of a file: see `InboxResult`."""
    if refusal:
        return "refused"
    if not statuses:
        return "known"
    if {"waiting", "claimed", "loaded"} & {*statuses}:
        return "waiting"
    if "rejected" in statuses:
        return "rejected"
    return "published"
