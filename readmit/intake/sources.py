"""Register source files: fetch, check and cut them, and write down the plan or the refusal."""

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from readmit import db
from readmit.command import explained
from readmit.errors import SourceRefused, SourceUnreachable
from readmit.inherited_environment import forget_the_shell
from readmit.intake import disk_space
from readmit.intake.download import NO_VERSION, FileVersion, NotChanged, printable_address
from readmit.intake.registration import register_source
from readmit.intake.source_counts import source_counts
from readmit.intake.source_file import (
    DataSource,
    Fetched,
    fetch,
    is_address,
    remove_unpacked,
    unchanged_mark,
    unpack,
)
from readmit.settings import PipelineSettings

log = logging.getLogger(__name__)


class RegisteredSource(NamedTuple):
    """A row of `landing.sources`."""

    name: str
    data_source: DataSource
    sha256: str


def ensure_source(settings: PipelineSettings, *, is_forced: bool = False) -> str | None:
    """Register the file that `DATASET` names, unless that is done.

    Without `DATASET`, the public file (or the sample) fills an empty ledger only: it never joins
    a file that a person has submitted.

    Args:
        settings: DATASET, and where Postgres and S3 are.
        is_forced: see `register_source`.

    Returns:
        The sha256 of its CSV, or None when there was nothing to do.

    Raises:
        SourceRefused: the file cannot be read; the ledger has a row `refused-...` with the reason.
        SourceUnreachable: the address does not answer.
    """
    disk_space.stop_ingestion_without_room(settings.readmit_home)
    registered = _registered_sources(settings)
    holds_sample = any(source.data_source == "sample" for source in registered)
    if settings.dataset and is_address(settings.dataset) and not holds_sample:
        return _ensure_address(settings.dataset, registered, settings, is_forced=is_forced)
    cache = _cache_folder(settings)
    mark = unchanged_mark(settings.dataset, settings.dataset_sha256, cache)
    if not settings.dataset:
        is_done = bool(registered)
    elif mark is None or not mark.is_file() or holds_sample:
        is_done = False
    else:
        sha256 = mark.read_text(encoding="ascii")
        is_done = sha256 in [source.sha256 for source in registered]
    if is_done:
        return None
    fetched = fetch(settings.dataset, cache)
    # The download takes a while, in which a person may have submitted a file.
    if not settings.dataset and _registered_sources(settings):
        return None
    if fetched.data_source != "sample" and holds_sample:
        raise SourceRefused(
            f"{fetched.name}: this stack is filled with the embedded sample; "
            "real and made-up patients are not mixed: "
            "run `make clean`, then `make up` with DATASET"
        )
    sha256 = register_fetched(
        fetched, settings, expected_sha256=settings.dataset_sha256, is_forced=is_forced
    )
    if mark is not None:
        mark.write_text(sha256, encoding="ascii")
    return sha256


def _ensure_address(
    address: str,
    registered: Sequence[RegisteredSource],
    settings: PipelineSettings,
    *,
    is_forced: bool,
) -> str | None:
    """Ask an address for its file, and register a version that is new; else return None.

    A version that was registered before stays when the address does not answer any more.
    """
    is_registered = printable_address(address) in [source.name for source in registered]
    if is_registered and settings.dataset_sha256:
        return None  # no other version would be taken
    last_file, last_version = _last_download(address, settings)
    try:
        fetched = fetch(address, _cache_folder(settings), last_version)
    except NotChanged:
        return None
    except (SourceRefused, SourceUnreachable) as problem:
        if not is_registered:
            raise
        log.warning("what was registered from there stays: %s", problem)
        return None
    sha256 = None
    if fetched.sha256 != last_file:
        sha256 = register_fetched(
            fetched, settings, expected_sha256=settings.dataset_sha256, is_forced=is_forced
        )
    _record_download(address, fetched, settings)
    if sha256 in [source.sha256 for source in registered]:
        return None
    return sha256


def _last_download(address: str, settings: PipelineSettings) -> tuple[str, FileVersion]:
    """Return the sha256 of the file that was fetched last from an address, and its version."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select file_sha256, etag, last_modified from landing.downloads"
            " where address_sha256 = %s",
            (_address_sha256(address),),
        )
        row = cur.fetchone()
    if row is None:
        return "", NO_VERSION
    file_sha256, *marks = row
    return str(file_sha256), FileVersion(*marks)


def _record_download(address: str, fetched: Fetched, settings: PipelineSettings) -> None:
    """Note the version that was registered last."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            """
            insert into landing.downloads (address_sha256, file_sha256, etag, last_modified)
            values (%s, %s, %s, %s)
            on conflict (address_sha256) do update set
                file_sha256 = excluded.file_sha256,
                etag = excluded.etag,
                last_modified = excluded.last_modified,
                fetched_at = clock_timestamp()
            """,
            (
                _address_sha256(address),
                fetched.sha256,
                fetched.version.etag,
                fetched.version.last_modified,
            ),
        )


def _address_sha256(address: str) -> str:
    """Return the name of an address in the ledger: there may be a password in the address."""
    return hashlib.sha256(os.fsencode(address)).hexdigest()


def submit(
    address: str,
    settings: PipelineSettings,
    supersedes: str | None = None,
    *,
    is_forced: bool = False,
) -> str:
    """Register one more file; its batches wait for the next runs.

    Rejected batches of a file that is registered already wait again: the same rows get a verdict
    by the rules of today.

    Args:
        address: path or URL of a CSV, a zip or a gzip.
        settings: where Postgres and S3 are; DATASET and DATASET_SHA256 do not count.
        supersedes: see `register_source`.
        is_forced: see `register_source`.

    Returns:
        The sha256 of the CSV.
    """
    if not address.strip():
        raise SourceRefused("no file is named: make submit FILE=path/to/file.csv")
    disk_space.stop_ingestion_without_room(settings.readmit_home)
    fetched = fetch(address, _cache_folder(settings))
    sha256 = register_fetched(fetched, settings, supersedes, is_forced=is_forced)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "update landing.batches set status = 'loaded', reason = null"
            " where source_sha256 = %s and status = 'rejected'",
            (sha256,),
        )
    return sha256


def register_fetched(
    fetched: Fetched,
    settings: PipelineSettings,
    supersedes: str | None = None,
    expected_sha256: str | None = None,
    *,
    is_forced: bool = False,
) -> str:
    """Unpack, check and register a fetched file; returns the sha256 of its CSV.

    Raises:
        SourceRefused: the file cannot be read; the ledger has the reason.
    """
    cache = _cache_folder(settings)
    try:
        source = unpack(fetched, cache, expected_sha256)
        register_source(source, settings, supersedes, is_forced=is_forced)
    except SourceRefused as refusal:
        remove_unpacked(fetched, cache)
        _record_refusal(fetched, str(refusal), settings)
        raise
    return source.sha256


def _cache_folder(settings: PipelineSettings) -> Path:
    return settings.readmit_home / "sources"


def _registered_sources(settings: PipelineSettings) -> list[RegisteredSource]:
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select name, data_source, source_sha256 from landing.sources")
        return [RegisteredSource(*row) for row in cur.fetchall()]


def _record_refusal(fetched: Fetched, reason: str, settings: PipelineSettings) -> None:
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        row_id = f"refused-{fetched.sha256[:8]}"
        cur.execute(
            "select 1 from landing.batches where batch_id = %s and source_sha256 <> %s",
            (row_id, fetched.sha256),
        )
        if cur.fetchone() is not None:  # another file begins with the same digits
            row_id = f"refused-{fetched.sha256}"
        cur.execute(
            """
            insert into landing.batches (
                batch_id, split, ordinal, n_rows, source_sha256, data_source, status, reason
            )
            values (%s, 'none', 0, 0, %s, %s, 'refused', %s)
            on conflict (batch_id) do update set reason = excluded.reason
            """,
            (row_id, fetched.sha256, fetched.data_source, reason),
        )


def describe(sha256: str, settings: PipelineSettings) -> str:
    """Return how a registered file was read, and how many of its batches wait, as text."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select count(*) from landing.open_slices join landing.slices using (batch_id)"
            " where source_sha256 = %s and copy = 1",
            (sha256,),
        )
        [(n_batches,)] = cur.fetchall()
        cur.execute(
            "select source_dialect from landing.sources where source_sha256 = %s", (sha256,)
        )
        [(dialect,)] = cur.fetchall()
    [counts] = source_counts(settings, sha256)
    return (
        f"registered {sha256}; {n_batches} of its batches wait\n"
        f"read as: {dialect or 'a plain CSV, registered before 0.2.0'}\n"
        f"{counts}"
    )


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `submit FILE [--supersedes BATCH_ID] [--force]`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.intake.sources", description="Source files."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    submit_parser = commands.add_parser(
        "submit", help="register one more file: its batches wait for the next runs"
    )
    submit_parser.add_argument("file", help="path or address of a CSV, a zip or a gzip")
    submit_parser.add_argument(
        "--supersedes", metavar="BATCH_ID", help="the rejected batch that this file corrects"
    )
    submit_parser.add_argument(
        "--force", action="store_true", help="take also a changed copy of the source"
    )
    options = parser.parse_args(arguments)
    settings = PipelineSettings()
    sha256 = submit(options.file, settings, options.supersedes, is_forced=options.force)
    print(describe(sha256, settings))
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
