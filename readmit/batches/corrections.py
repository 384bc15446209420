"""Rows in quarantine: list them, release a corrected row, withdraw a release that waits.

A release writes the corrected values into `ops.corrections` under a new build (`<batch_id>+r<k>`).
The build then waits in the queue and goes through dbt as a batch does: the same rules judge the
corrected row, and only what passes enters the features.
"""

import argparse
import getpass
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches.builds import CORRECTIONS_LOCK, Build, is_published
from readmit.batches.ledger import fetch_count, reopen_proposals
from readmit.command import explained
from readmit.errors import BadData
from readmit.inherited_environment import forget_the_shell
from readmit.intake.layout import LANDING_COLUMNS, MAX_FIELD_BYTES
from readmit.intake.split import split_of
from readmit.settings import PipelineSettings

# Corrections about which nothing is decided yet.
WAITING = """
    select build_id, batch_id from ops.corrections as waiting
    where not exists (select from ops.published_batches as p where p.build_id = waiting.build_id)
        and not exists (select from ops.rejected_builds as r where r.build_id = waiting.build_id)
"""


class ReleaseRefused(BadData):
    """A row cannot be released with these values; the message says why and what to do."""


@dataclass(frozen=True)
class HeldRows:
    """How many rows of a batch are held back for one reason."""

    batch_id: str
    reason: str
    n_rows: int


def held_rows(settings: PipelineSettings) -> list[HeldRows]:
    """Count the rows in quarantine by batch and reason, released ones left out."""
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select _batch_id, reason, count(*) from quarantine.encounters"
            " where released_at is null"
            " group by _batch_id, reason order by count(*) desc, _batch_id, reason"
        )
        return [
            HeldRows(str(batch_id), str(reason), int(n_rows))
            for batch_id, reason, n_rows in cur.fetchall()
        ]


def release(
    batch_id: str,
    source_row: int,
    corrected: Mapping[str, str],
    released_by: str,
    settings: PipelineSettings,
) -> str:
    """Have one row of quarantine built again, with these values instead of its own.

    Args:
        batch_id: a published batch.
        source_row: the row's number in the source file, as quarantine shows it.
        corrected: new text by column of RAW; columns left out keep what the file says.
        released_by: who answers for it; stands in the records for good.
        settings: where the databases are.

    Returns:
        The build that the row now waits in. Rows of one batch that wait share a build.

    Raises:
        ReleaseRefused: the row is not held back, or the values are not allowed.
    """
    with _recording(batch_id, corrected, released_by, settings) as cur:
        _check_is_held(batch_id, source_row, settings)
        return _record(cur, batch_id, source_row, corrected, released_by)


def replace(
    batch_id: str,
    source_row: int,
    corrected: Mapping[str, str],
    accepted_by: str,
    settings: PipelineSettings,
) -> str:
    """Have a row built again with these values, whether it is held back or not.

    When the last correction of the row has the same values, nothing is added.

    Args and returned build: those of `release`.

    Raises:
        ReleaseRefused: the batch is not published, or the values are not allowed.
    """
    with _recording(batch_id, corrected, accepted_by, settings) as cur:
        cur.execute(
            "select build_id, corrected = %s from ops.corrections"
            " where batch_id = %s and source_row = %s"
            " and build_id not in (select build_id from ops.rejected_builds)"
            " order by correction_id desc limit 1",
            (json.dumps(dict(corrected)), batch_id, source_row),
        )
        last = cur.fetchone()
        if last is not None and last[1]:
            return str(last[0])
        return _record(cur, batch_id, source_row, corrected, accepted_by)


@contextmanager
def _recording(
    batch_id: str, corrected: Mapping[str, str], released_by: str, settings: PipelineSettings
) -> Iterator[cursor]:
    """Check the values and the batch; no correction begins to be built until the block ends."""
    _check_values(batch_id, corrected)
    if not released_by.strip():
        raise ReleaseRefused("a release needs the name of the person who answers for it")
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (CORRECTIONS_LOCK,))
        if not is_published(cur, batch_id):
            raise ReleaseRefused(
                f"{batch_id}: is not published;"
                " rows of a rejected batch are sent again as a new file"
            )
        yield cur


def _record(
    cur: cursor, batch_id: str, source_row: int, corrected: Mapping[str, str], released_by: str
) -> str:
    """Write a correction; no row waits in two."""
    cur.execute(f"{WAITING} and batch_id = %s and source_row = %s", (batch_id, source_row))
    waiting_in = cur.fetchone()
    if waiting_in is not None:
        raise ReleaseRefused(f"{batch_id}, row {source_row}: waits in {waiting_in[0]} already")
    build_id = _open_build(cur, batch_id)
    cur.execute(
        "insert into ops.corrections (batch_id, source_row, corrected, released_by, build_id)"
        " values (%s, %s, %s, %s, %s)",
        (batch_id, source_row, json.dumps(dict(corrected)), released_by, build_id),
    )
    return build_id


def _check_values(batch_id: str, corrected: Mapping[str, str]) -> None:
    for column, value in corrected.items():
        if column not in LANDING_COLUMNS:
            raise ReleaseRefused(
                f"{column}: no such column; the columns are {', '.join(LANDING_COLUMNS)}"
            )
        if not value.isascii() or not value.isprintable() or len(value) > MAX_FIELD_BYTES:
            raise ReleaseRefused(
                f"{column}: {value[:40]!r} is not printable ASCII of at most {MAX_FIELD_BYTES}"
                " bytes"
            )
    patient = corrected.get("patient_nbr")
    if patient is not None and not batch_id.startswith(f"{split_of(patient)}-"):
        raise ReleaseRefused(
            f"patient_nbr: patient {patient} belongs to the split {split_of(patient)}, not to that"
            f" of {batch_id}; send the row as a new file instead"
        )


def _check_is_held(batch_id: str, source_row: int, settings: PipelineSettings) -> None:
    """Raise `ReleaseRefused` unless the row is in quarantine.

    `reader` looks into quarantine, since a function in a view of dbt's runs with the rights of the
    role that reads the view.
    """
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as reading,
    ):
        reading.execute(
            "select released_at from quarantine.encounters"
            " where _batch_id = %s and _source_row = %s",
            (batch_id, source_row),
        )
        row = reading.fetchone()
    if row is None:
        raise ReleaseRefused(f"{batch_id}, row {source_row}: is not in quarantine")
    if row[0] is not None:
        raise ReleaseRefused(
            f"{batch_id}, row {source_row}: was released at {row[0]:%Y-%m-%d %H:%M}; it enters once"
        )


def _open_build(cur: cursor, batch_id: str) -> str:
    """Return the id of the correction that takes another row of this batch.

    It is the one that waits and is not being built, or a new one.
    """
    cur.execute(
        f"{WAITING} and batch_id = %s"
        " and not exists (select from ops.current_build as b where b.build_id = waiting.build_id)"
        " limit 1",
        (batch_id,),
    )
    row = cur.fetchone()
    if row is not None:
        return str(row[0])
    cur.execute(
        "select count(distinct build_id) from ops.corrections where batch_id = %s", (batch_id,)
    )
    return f"{batch_id}+r{fetch_count(cur) + 1}"


def withdraw(build_id: str, withdrawn_by: str, settings: PipelineSettings) -> None:
    """Take a correction out of the queue; its rows stay in quarantine and can be released again.

    The record stays: the corrections themselves, and who withdrew them.

    Raises:
        ReleaseRefused: the correction does not wait, or it is being built.
    """
    if not withdrawn_by.strip():
        raise ReleaseRefused("a withdrawal needs the name of the person who answers for it")
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (CORRECTIONS_LOCK,))
        cur.execute(f"{WAITING} and build_id = %s", (build_id,))
        if cur.fetchone() is None:
            raise ReleaseRefused(f"{build_id}: no such correction waits")
        cur.execute("select 1 from ops.current_build where build_id = %s", (build_id,))
        if cur.fetchone() is not None:
            raise ReleaseRefused(f"{build_id}: is being built; try again in a minute")
        cur.execute(
            "insert into ops.rejected_builds (build_id, reason) values (%s, %s)",
            (build_id, f"withdrawn by {withdrawn_by}"),
        )
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        reopen_proposals(cur, [build_id])


def waiting(settings: PipelineSettings) -> list[Build]:
    """Return the corrections that are neither published nor rejected, oldest first."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(f"{WAITING} group by build_id, batch_id order by min(correction_id)")
        return [
            Build(str(build_id), str(batch_id), "correction")
            for build_id, batch_id in cur.fetchall()
        ]


def rejections(settings: PipelineSettings) -> dict[str, str]:
    """Return the reason for each rejected correction. Its rows can be released again."""
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select build_id, reason from ops.rejected_builds order by rejected_at")
        return {str(build_id): str(reason) for build_id, reason in cur.fetchall()}


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `list`, `release BATCH_ID SOURCE_ROW column=value ...`, `withdraw BUILD_ID`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.batches.corrections", description="Rows that are held back."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "list", help="rows held back by batch and reason, and corrections that wait"
    )
    releasing = commands.add_parser("release", help="build one row again with corrected values")
    releasing.add_argument("batch_id")
    releasing.add_argument("source_row", type=int)
    releasing.add_argument("corrected", nargs="*", metavar="column=value")
    withdrawing = commands.add_parser("withdraw", help="take a correction out of the queue")
    withdrawing.add_argument("build_id")
    for command in (releasing, withdrawing):
        command.add_argument(
            "--by", default=getpass.getuser(), help="who answers for it (default: the user)"
        )
    options = parser.parse_args(arguments)
    settings = PipelineSettings()
    if options.command == "list":
        print(listing(settings))
    elif options.command == "withdraw":
        withdraw(options.build_id, options.by, settings)
        print(f"{options.build_id} is withdrawn; its rows are still held back")
    else:
        corrected = {}
        for pair in options.corrected:
            column, sign, value = pair.partition("=")
            if not sign:
                raise ReleaseRefused(f"{pair}: write column=value")
            corrected[column] = value
        build_id = release(options.batch_id, options.source_row, corrected, options.by, settings)
        print(f"waits in {build_id}")
    return 0


def listing(settings: PipelineSettings) -> str:
    """Return the rows held back by reason, and the corrections, one line each, as text."""
    lines = [f"{row.n_rows:>7}  {row.batch_id}  {row.reason}" for row in held_rows(settings)]
    for build in waiting(settings):
        lines.append(f"correction {build.build_id} waits")
    for build_id, reason in rejections(settings).items():
        lines.append(f"correction {build_id} was rejected: {reason}")
    return "\n".join(lines) or "nothing is held back"


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
