"""The ledger of batches: what arrived, and what became of it.

Holds the rule of docs/batches.md. Every function may be killed at any point and repeated: facts are
written in one transaction each, and where two databases are involved `clean` decides and the ledger
in `raw` follows.
"""

import argparse
import sys
from collections.abc import Sequence

from psycopg2.extensions import cursor

from readmit import db
from readmit.command import explained
from readmit.errors import BatchRejected
from readmit.inherited_environment import forget_the_shell
from readmit.intake.source_counts import source_counts
from readmit.settings import PipelineSettings

# The states of a batch that a gate or a test of dbt has rejected.
REJECTED = ("rejected", "superseded")

MARK_PUBLISHED = """
    update landing.batches
    set status = 'published', published_at = %(published_at)s, n_quarantined = %(quarantined)s,
        n_excluded = %(excluded)s, reason = null
    where batch_id = %(batch)s and (
        status = 'loaded'
        or status = 'published' and (n_quarantined, n_excluded) is distinct from
        (%(quarantined)s, %(excluded)s)
    )
"""
SUPERSEDE_REJECTED = """
    update landing.batches set status = 'superseded'
    where status = 'rejected'
        and batch_id = (select supersedes from landing.batches where batch_id = %(batch)s)
"""
# Two files with equal rows may both be submitted again after a rejection. When one of them is
# published, the loaded copy ends.
END_COPIES = """
    update landing.batches as copy
    set status = 'superseded', reason = 'the same rows are published as ' || original.batch_id
    from landing.batches as original
    where copy.status = 'loaded' and original.status = 'published'
        and copy.content_sha256 = original.content_sha256
    returning copy.batch_id
"""


def state(cur: cursor, batch_id: str) -> tuple[str | None, str]:
    """Return the status of a batch and its reason; status None when it is not in the ledger."""
    cur.execute(
        "select status, coalesce(reason, '') from landing.batches where batch_id = %s", (batch_id,)
    )
    row = cur.fetchone()
    if row is None:
        return None, ""
    return str(row[0]), str(row[1])


def stop_if_rejected(build_id: str, status: str | None, reason: str) -> None:
    """Raise `BatchRejected` when the status says that the build was rejected before."""
    if status in REJECTED:
        raise BatchRejected(
            f"{build_id}: is {status} ({reason}); send the corrected rows as a new file"
        )


def mark_rejected(build_id: str, reason: str, settings: PipelineSettings) -> None:
    """Write the verdict on a batch into the ledger and end the claim on the build."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "update landing.batches set status = 'rejected', reason = %s"
            " where batch_id = %s and status = 'loaded'",
            (reason, build_id),
        )
        cur.execute("delete from landing.claims where build_id = %s", (build_id,))
        reopen_proposals(cur, [build_id])


def reopen_proposals(cur: cursor, rejected_builds: list[str]) -> None:
    """Have changed rows decided again whose correction was rejected or withdrawn."""
    cur.execute(
        "update landing.proposals"
        " set state = 'open', build_id = null, decided_by = null, decided_at = null"
        " where state = 'accepted' and build_id = any(%s)",
        (rejected_builds,),
    )


def repair(settings: PipelineSettings) -> list[str]:
    """Bring the ledger up to what `clean` has decided, after a crash between the two.

    Returns:
        The batches that were repaired.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select batch_id from landing.batches where status = 'loaded'")
        loaded = [str(row[0]) for row in cur.fetchall()]
        cur.execute(
            "select build_id from landing.claims"
            " union select build_id from landing.proposals where state = 'accepted'"
        )
        claimed = [str(row[0]) for row in cur.fetchall()]
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select distinct batch_id from ops.published_batches where kind = 'correction'")
        corrected = [str(row[0]) for row in cur.fetchall()]
        cur.execute("select build_id from ops.rejected_builds where build_id = any(%s)", (claimed,))
        rejected = [str(row[0]) for row in cur.fetchall()]
    if rejected:
        with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
            cur.execute("delete from landing.claims where build_id = any(%s)", (rejected,))
            reopen_proposals(cur, rejected)
    if not loaded and not corrected:
        return []
    return follow(loaded + corrected, settings)


def follow(batch_ids: list[str], settings: PipelineSettings) -> list[str]:
    """Copy what `clean` holds of these batches, corrections included, into the ledger.

    A correction takes rows out of quarantine, never into it: the smallest number of quarantined
    rows is the latest. A row may be excluded by a correction, and included by the next.

    Returns:
        The batches whose ledger row changed.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select batch_id, min(published_at), min(n_quarantined),"
            " (array_agg(n_excluded order by published_at desc))[1], array_agg(build_id)"
            " from ops.published_batches where batch_id = any(%s) group by batch_id",
            (batch_ids,),
        )
        published = cur.fetchall()
    changed = []
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        for batch_id, published_at, n_quarantined, n_excluded, build_ids in published:
            facts = {
                "batch": batch_id,
                "published_at": published_at,
                "quarantined": n_quarantined,
                "excluded": n_excluded,
            }
            cur.execute(MARK_PUBLISHED, facts)
            if cur.rowcount > 0:
                changed.append(str(batch_id))
            cur.execute(SUPERSEDE_REJECTED, facts)
            cur.execute("delete from landing.claims where build_id = any(%s)", (build_ids,))
        cur.execute(END_COPIES)
        changed += [str(row[0]) for row in cur.fetchall()]
    return changed


def fetch_count(cur: cursor) -> int:
    """Return the one number that a query has selected."""
    row = cur.fetchone()
    return int(row[0]) if row else 0


HEADER = ("batch", "rows", "status", "quarantined", "excluded", "data", "supersedes", "reason")
MAX_CELL_CHARACTERS = 160


def status_table(settings: PipelineSettings) -> str:
    """Return what was planned, loaded and refused, one line per batch and per file, as text."""
    rows: list[tuple[str, ...]] = [HEADER]
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id, n_rows, status, n_quarantined, n_excluded, data_source, supersedes,"
            " reason from landing.overview order by queue_position nulls last, batch_id"
        )
        for row in cur.fetchall():
            cells = []
            for value in row:
                cells.append("" if value is None else str(value)[:MAX_CELL_CHARACTERS])
            rows.append(tuple(cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [value.ljust(width) for value, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *map(str, source_counts(settings))])


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `status` and `repair`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.batches.ledger", description="The ledger of batches."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "status", help="print what was planned, loaded, published, rejected and refused"
    )
    commands.add_parser("repair", help="bring the ledger up to what is published, after a crash")
    options = parser.parse_args(arguments)
    settings = PipelineSettings()
    if options.command == "repair":
        print("repaired: " + (", ".join(repair(settings)) or "nothing to repair"))
    else:
        print(status_table(settings))
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
