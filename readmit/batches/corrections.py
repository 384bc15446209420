"""Rows that the row rules held back: list them, and release corrected ones, each once.

A release writes what is corrected into `ops.corrections` under a new build (`<batch_id>+r<k>`). The build then goes
through dbt as a batch does: the same rules look at the corrected row, and only what passes enters the features.
"""

import argparse
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import builds, ledger
from readmit.command import explained
from readmit.errors import BadData
from readmit.intake.layout import LANDING_COLUMNS, MAX_FIELD_BYTES
from readmit.intake.split import split_of
from readmit.settings import PipelineSettings

# Advisory lock: any number that nobody else uses.
RELEASE_LOCK = 7_241_005


class ReleaseRefused(BadData):
    """A row cannot be released as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Held:
    """How many rows of a batch are held back for one reason."""

    batch_id: str
    reason: str
    n_rows: int


def held(settings: PipelineSettings) -> list[Held]:
    """Count the rows in quarantine by batch and reason, released ones left out."""
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select _batch_id, reason, count(*) from quarantine.encounters where released_at is null"
            " group by _batch_id, reason order by count(*) desc, _batch_id, reason"
        )
        return [
            Held(str(batch_id), str(reason), int(n_rows))
            for batch_id, reason, n_rows in cur.fetchall()
        ]


def release(
    batch_id: str,
    source_row: int,
    corrected: Mapping[str, str],
    released_by: str,
    settings: PipelineSettings,
) -> str:
    """Ask for one row of quarantine to be built again, with these values in place of its own.

    Args:
        batch_id: a published batch.
        source_row: the row's number in the source file, as quarantine shows it.
        corrected: new text by column of RAW; columns left out keep what the file says.
        released_by: who answers for it; stands in the records for good.
        settings: where the databases are.

    Returns:
        The build that the row now waits in; several rows that wait for the same batch share one build.

    Raises:
        ReleaseRefused: the row is not held back, or these values cannot be.
    """
    _check_values(batch_id, corrected)
    if not released_by.strip():
        raise ReleaseRefused("a release needs the name of the person who answers for it")
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (RELEASE_LOCK,))
        _check_is_held(cur, batch_id, source_row)
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
                f"{column}: {value[:40]!r} is not printable ASCII of at most {MAX_FIELD_BYTES} bytes"
            )
    patient = corrected.get("patient_nbr")
    if patient is not None and not batch_id.startswith(f"{split_of(patient)}-"):
        raise ReleaseRefused(
            f"patient_nbr: patient {patient} belongs to the split {split_of(patient)}, not to that of {batch_id}; "
            "send the row as a new file instead"
        )


def _check_is_held(cur: cursor, batch_id: str, source_row: int) -> None:
    cur.execute("select 1 from ops.published_batches where build_id = %s", (batch_id,))
    if cur.fetchone() is None:
        raise ReleaseRefused(
            f"{batch_id}: is not published; rows of a rejected batch are sent again as a new file"
        )
    cur.execute(
        "select released_at from quarantine.encounters where _batch_id = %s and _source_row = %s",
        (batch_id, source_row),
    )
    found = cur.fetchone()
    if found is None:
        raise ReleaseRefused(f"{batch_id}, row {source_row}: is not in quarantine")
    if found[0] is not None:
        raise ReleaseRefused(
            f"{batch_id}, row {source_row}: was released at {found[0]:%Y-%m-%d %H:%M}; it enters once"
        )
    cur.execute(
        "select build_id from ops.corrections left join ops.published_batches using (build_id)"
        " where corrections.batch_id = %s and source_row = %s and published_at is null",
        (batch_id, source_row),
    )
    if (waiting := cur.fetchone()) is not None:
        raise ReleaseRefused(f"{batch_id}, row {source_row}: waits in {waiting[0]} already")


def _open_build(cur: cursor, batch_id: str) -> str:
    """Return the release of this batch that is neither published nor being built, or the name of the next one."""
    cur.execute(
        """
        select c.build_id from ops.corrections c
        left join ops.published_batches p using (build_id)
        left join ops.current_build b using (build_id)
        where c.batch_id = %s and p.build_id is null and b.build_id is null limit 1
        """,
        (batch_id,),
    )
    if (found := cur.fetchone()) is not None:
        return str(found[0])
    cur.execute(
        "select count(distinct build_id) from ops.corrections where batch_id = %s", (batch_id,)
    )
    counted = cur.fetchone()
    return f"{batch_id}+r{int(counted[0]) + 1 if counted else 1}"


def waiting(settings: PipelineSettings) -> list[str]:
    """Name the releases that are asked for and not published, oldest first."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select c.build_id from ops.corrections c left join ops.published_batches p using (build_id)"
            " where p.build_id is null group by c.build_id order by min(c.correction_id)"
        )
        return [str(row[0]) for row in cur.fetchall()]


def begin_build(build_id: str, settings: PipelineSettings) -> None:
    """Make this release what dbt builds next; dbt is left with nothing to build when it is published already.

    Raises:
        BuildBusy: another build is under way.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        # Whoever adds a row to this release does so before it is being built, or finds another one.
        cur.execute("select pg_advisory_xact_lock(%s)", (RELEASE_LOCK,))
        cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
        if cur.fetchone() is None:
            builds.set_current_build(cur, build_id, _batch_of(cur, build_id), "release")


def publish(build_id: str, settings: PipelineSettings) -> builds.Counts:
    """Make a release visible: the rows of its patients in their new versions; the ledger's counts follow.

    Raises:
        BuildLost: another batch or release was built since.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        batch_id = _batch_of(cur, build_id)
        builds.lock_build(cur, build_id)
        counts = builds.count_build(cur, build_id, batch_id)
        builds.publish_build(cur, build_id, batch_id, "release", counts)
    ledger.follow([batch_id], settings)
    return counts


def end_build(build_id: str, settings: PipelineSettings) -> None:
    """Give dbt's place back after a release that failed; nothing to do after one that was published."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("delete from ops.current_build where build_id = %s", (build_id,))


def _batch_of(cur: cursor, build_id: str) -> str:
    cur.execute("select batch_id from ops.corrections where build_id = %s limit 1", (build_id,))
    found = cur.fetchone()
    if found is None:
        raise LookupError(
            f"{build_id}: no such release is asked for; see `python -m readmit.batches.corrections list`"
        )
    return str(found[0])


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `list`, and `release BATCH_ID SOURCE_ROW column=value ...`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.batches.corrections", description="Rows that are held back."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="rows held back by batch and reason, and releases that wait")
    releasing = commands.add_parser("release", help="build one row again with corrected values")
    releasing.add_argument("batch_id")
    releasing.add_argument("source_row", type=int)
    releasing.add_argument("corrected", nargs="*", metavar="column=value")
    releasing.add_argument(
        "--by", default=getpass.getuser(), help="who answers for it (default: the user)"
    )
    given = parser.parse_args(arguments)
    settings = PipelineSettings()
    if given.command == "list":
        print(_listing(settings))
    else:
        values = dict(_pair(pair) for pair in given.corrected)
        build_id = release(given.batch_id, given.source_row, values, given.by, settings)
        print(f"waits in {build_id}")
    return 0


def _listing(settings: PipelineSettings) -> str:
    rows = [f"{row.n_rows:>7}  {row.batch_id}  {row.reason}" for row in held(settings)]
    releases = [f"release {build_id} waits" for build_id in waiting(settings)]
    return "\n".join(rows + releases) or "nothing is held back"


def _pair(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign:
        raise ReleaseRefused(f"{text}: write column=value")
    return column, value


if __name__ == "__main__":
    sys.exit(main())
