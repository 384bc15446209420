"""Register source files: check them once, cut them into batches, and write down the plan or the refusal."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from psycopg2.extensions import cursor
from psycopg2.extras import execute_values

from readmit import db, storage
from readmit.command import explained
from readmit.errors import SourceRefused
from readmit.intake import slices
from readmit.intake.csv_file import read_blocks
from readmit.intake.download import address_shown
from readmit.intake.source_file import (
    Fetched,
    LocalSource,
    fetch,
    file_mark,
    remove_unpacked,
    sha256_of,
    unpack,
)
from readmit.settings import Settings

# Advisory lock: any number that nobody else uses.
REGISTER_LOCK = 7_241_003


def ensure_source(settings: Settings) -> str | None:
    """Register the file that `DATASET` names unless that is done; return its sha256, or None when nothing was to do.

    Raises:
        SourceRefused: the file cannot be read; the ledger has a row `refused-...` with the reason.
        SourceUnreachable: the address does not answer.
    """
    present = _registered(settings)
    names, kinds = {name for name, _, _ in present}, {kind for _, kind, _ in present}
    if (not settings.dataset and kinds & {"uci", "sample"}) or address_shown(
        settings.dataset or ""
    ) in names:
        return None
    mark = file_mark(settings)
    if (
        mark is not None
        and "sample" not in kinds
        and _read_mark(mark) in {sha256 for _, _, sha256 in present}
    ):
        return None
    fetched = fetch(settings)
    if fetched.data_source == "sample" and present:
        return None
    if fetched.data_source != "sample" and "sample" in kinds:
        raise SourceRefused(
            f"{fetched.name}: this stack is filled with the embedded sample; real and made-up patients are not mixed: "
            "run `make clean`, then `make up` with DATASET"
        )
    sha256 = register_fetched(fetched, settings)
    if mark is not None:
        mark.write_text(sha256, encoding="ascii")
    return sha256


def _read_mark(mark: Path) -> str | None:
    return mark.read_text(encoding="ascii") if mark.is_file() else None


def submit(address: str, settings: Settings, supersedes: str | None = None) -> str:
    """Register one more file, by path or address; its batches wait for the next runs. See `register_source`.

    Rejected batches of a file that is known already wait again: the same rows, judged by the rules as they are now.
    """
    if not address.strip():
        raise SourceRefused("no file is named: make submit FILE=path/to/file.csv")
    settings = settings.model_copy(update={"dataset": address, "dataset_sha256": None})
    sha256 = register_fetched(fetch(settings), settings, supersedes)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "update landing.batches set status = 'loaded', reason = null"
            " where source_sha256 = %s and status = 'rejected'",
            (sha256,),
        )
    return sha256


def register_fetched(fetched: Fetched, settings: Settings, supersedes: str | None = None) -> str:
    """Unpack, check and register a fetched file; a refusal is written into the ledger before it is raised."""
    try:
        source = unpack(fetched, settings)
        return register_source(source, settings, supersedes)
    except SourceRefused as refusal:
        remove_unpacked(fetched, settings)
        _record_refusal(fetched, str(refusal), settings)
        raise


def register_source(source: LocalSource, settings: Settings, supersedes: str | None = None) -> str:
    """Check the file, cut it into batches, store them in S3 and write the plan; once per file.

    A file that is known only stores its objects again while one of its batches is not loaded: S3 may have lost them.

    Args:
        source: an unpacked CSV.
        settings: where Postgres and S3 are; `batch_size` rows make a train batch.
        supersedes: the rejected batch that this file corrects; the file then makes exactly one batch.

    Returns:
        The sha256 of the CSV.

    Raises:
        SourceRefused: the file cannot be read; nothing of it is planned.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))
        cur.execute(
            "select batch_id, supersedes from landing.slices where source_sha256 = %s",
            (source.sha256,),
        )
        if present := cur.fetchall():
            _check_known(source, present, supersedes)
            _store_again(cur, source, settings)
        else:
            _write_plan(cur, source, _stored(cur, source, supersedes, settings), supersedes)
    return source.sha256


def _registered(settings: Settings) -> list[tuple[str, str, str]]:
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select name, data_source, source_sha256 from landing.sources")
        return [(str(name), str(kind), str(sha256)) for name, kind, sha256 in cur.fetchall()]


def _stored(
    cur: cursor, source: LocalSource, supersedes: str | None, settings: Settings
) -> list[tuple[Any, ...]]:
    """Store the file and its slices and return their plan; a refusal on the way removes what was stored."""
    planned: list[tuple[Any, ...]] = []
    try:
        for row in _upload(source, settings):
            planned.append(row)
        if sha256_of(source.path) != source.sha256:
            raise SourceRefused(
                f"{source.name}: the file changed while it was read; hand it in once it is complete"
            )
        _check_resend(cur, source, planned, supersedes)
    except SourceRefused:
        s3 = storage.client(settings)
        for key in (_file_key(source), *(part[-1] for part in planned)):
            s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=key)
        raise
    return planned


def _store_again(cur: cursor, source: LocalSource, settings: Settings) -> None:
    """Upload the slices as they were planned, whatever `batch_size` is now, unless all of them are loaded."""
    cur.execute(
        """
        select max(slices.n_rows) filter (where slices.split = 'train'), bool_and(batches.batch_id is not null)
        from landing.slices left join landing.batches on slices.batch_id = batches.batch_id
        where slices.source_sha256 = %s
        """,
        (source.sha256,),
    )
    [(n_train, is_loaded)] = cur.fetchall()
    if not is_loaded:
        planned = settings.model_copy(update={"batch_size": n_train or settings.batch_size})
        for _ in _upload(source, planned):
            pass


def _upload(source: LocalSource, settings: Settings) -> Iterator[tuple[Any, ...]]:
    """Upload slice by slice while the file is read, then the file itself."""
    s3, bucket = storage.client(settings), settings.s3_pipeline_bucket
    for part in slices.cut(
        read_blocks(source.path, source.name), source.sha256, settings.batch_size
    ):
        key = f"source/{source.sha256}/{part.batch_id}.csv"
        s3.put_object(Bucket=bucket, Key=key, Body=part.body, ContentType="text/csv")
        span = (part.first_source_row, part.last_source_row, part.n_rows)
        yield (part.split, part.ordinal, part.batch_id, *span, part.content_sha256, key)
    with source.path.open("rb") as file:
        s3.upload_fileobj(file, bucket, _file_key(source))


def _file_key(source: LocalSource) -> str:
    return f"source/{source.sha256}/source.csv"


def _check_resend(
    cur: cursor, source: LocalSource, planned: Sequence[tuple[Any, ...]], supersedes: str | None
) -> None:
    """A corrected resend stands for one rejected batch: the same split, and one batch only."""
    if supersedes is None:
        return
    cur.execute("select split, status from landing.batches where batch_id = %s", (supersedes,))
    found = cur.fetchone()
    if found is None or found[1] != "rejected":
        state = "is not in the ledger" if found is None else f"is {found[1]}"
        raise SourceRefused(
            f"{source.name}: batch {supersedes} {state}; only a rejected batch can be superseded"
        )
    if [row[0] for row in planned] != [found[0]]:
        made = ", ".join(str(row[2]) for row in planned)
        raise SourceRefused(
            f"{source.name}: makes the batches {made}, but a resend of {supersedes} must make one {found[0]} batch; "
            "send the rows of that batch only"
        )


def _check_known(
    source: LocalSource, present: Sequence[tuple[str, str | None]], supersedes: str | None
) -> None:
    """What a file stands for is written down once, when it comes first."""
    if supersedes is not None and supersedes not in {name for names in present for name in names}:
        made = ", ".join(batch_id for batch_id, _ in present)
        raise SourceRefused(
            f"{source.name}: is known as {made} and cannot be made a correction of {supersedes} any more; "
            "hand it in without SUPERSEDES"
        )


def _write_plan(
    cur: cursor, source: LocalSource, planned: Sequence[tuple[Any, ...]], supersedes: str | None
) -> None:
    cur.execute(
        "insert into landing.sources (source_sha256, name, data_source, n_rows, object_key)"
        " values (%s, %s, %s, %s, %s)",
        (
            source.sha256,
            source.name,
            source.data_source,
            sum(row[5] for row in planned),
            _file_key(source),
        ),
    )
    execute_values(
        cur,
        "insert into landing.slices (source_sha256, split, ordinal, batch_id, first_source_row, last_source_row,"
        " n_rows, content_sha256, object_key, supersedes) values %s",
        [(source.sha256, *row, supersedes) for row in planned],
    )


def _record_refusal(fetched: Fetched, reason: str, settings: Settings) -> None:
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "insert into landing.batches (batch_id, split, ordinal, n_rows, source_sha256, data_source, status, reason)"
            " values (%s, 'none', 0, 0, %s, %s, 'refused', %s)"
            " on conflict (batch_id) do update set reason = excluded.reason",
            (f"refused-{fetched.sha256[:8]}", fetched.sha256, fetched.data_source, reason),
        )


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `submit FILE [--supersedes BATCH_ID]`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.intake.sources", description="Source files."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    submitting = commands.add_parser(
        "submit", help="register one more file: its batches wait for the next runs"
    )
    submitting.add_argument("file", help="path or address of a CSV or zip")
    submitting.add_argument(
        "--supersedes", metavar="BATCH_ID", help="the rejected batch that this file corrects"
    )
    options = parser.parse_args(arguments)
    settings = Settings()
    sha256 = submit(options.file, settings, options.supersedes)
    print(f"registered {sha256}; {_waiting(settings)} batches wait")
    return 0


def _waiting(settings: Settings) -> int:
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select count(*) from landing.open_slices where copy = 1")
        [(n_batches,)] = cur.fetchall()
    return int(n_batches)


if __name__ == "__main__":
    sys.exit(main())
