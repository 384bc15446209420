"""The ledger of batches: what arrived, and what became of it.

Holds the rule of docs/batches.md. Every function may be killed at any point and repeated: facts are written in one
transaction each, and where two databases are involved `clean` decides and the ledger in `raw` follows.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from psycopg2.extensions import cursor

from readmit import db
from readmit.command import explained
from readmit.errors import BatchRejected
from readmit.settings import PipelineSettings


def state(cur: cursor, batch_id: str) -> tuple[str | None, str]:
    """Return the status of a batch and its reason; status None when it is not in the ledger."""
    cur.execute(
        "select status, coalesce(reason, '') from landing.batches where batch_id = %s", (batch_id,)
    )
    found = cur.fetchone()
    return (str(found[0]), str(found[1])) if found else (None, "")


def stop_if_rejected(batch_id: str, status: str | None, reason: str) -> None:
    """Raise `BatchRejected` when the status says that the batch was rejected before."""
    if status in ("rejected", "superseded"):
        raise BatchRejected(
            f"{batch_id}: is {status} ({reason}); send the corrected rows as a new file"
        )


def reject(batch_id: str, reason: str, settings: PipelineSettings) -> None:
    """Write a gate's no into the ledger. Rows stay in RAW as evidence; what dbt made of them is removed."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select ops.discard_build(%s)", (batch_id,))
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "update landing.batches set status = 'rejected', reason = %s where batch_id = %s and status = 'loaded'",
            (reason, batch_id),
        )
        cur.execute("delete from landing.claims where batch_id = %s", (batch_id,))


def repair(settings: PipelineSettings) -> list[str]:
    """Bring the ledger up to what `clean` has published, after a crash between the two; return what was repaired."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select batch_id from landing.batches where status = 'loaded'")
        loaded = [str(row[0]) for row in cur.fetchall()]
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select distinct batch_id from ops.published_batches where kind = 'release'")
        released = [str(row[0]) for row in cur.fetchall()]
    return follow(loaded + released, settings) if loaded + released else []


def follow(batch_ids: list[str], settings: PipelineSettings) -> list[str]:
    """Copy what `clean` says of these batches, releases included, into the ledger; return those that it did not know.

    A release takes rows out of quarantine and may find them excluded: the fewest and the most are the latest.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select batch_id, min(published_at), min(n_quarantined), max(n_excluded) from ops.published_batches"
            " where batch_id = any(%s) group by batch_id",
            (batch_ids,),
        )
        published = cur.fetchall()
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        return [str(row[0]) for row in published if _mark_published(cur, *row)]


def _mark_published(
    cur: cursor, batch_id: str, published_at: datetime, n_quarantined: int, n_excluded: int
) -> bool:
    """Return whether the ledger did not say so already."""
    facts = {
        "batch": batch_id,
        "at": published_at,
        "quarantined": n_quarantined,
        "excluded": n_excluded,
    }
    cur.execute(
        """
        update landing.batches
        set status = 'published', published_at = %(at)s, n_quarantined = %(quarantined)s, n_excluded = %(excluded)s,
            reason = null
        where batch_id = %(batch)s and (
            status = 'loaded'
            or status = 'published' and (n_quarantined, n_excluded) is distinct from (%(quarantined)s, %(excluded)s)
        )
        """,
        facts,
    )
    is_news = bool(cur.rowcount)
    cur.execute(
        "update landing.batches set status = 'superseded' where status = 'rejected'"
        " and batch_id = (select supersedes from landing.batches where batch_id = %(batch)s)",
        facts,
    )
    cur.execute("delete from landing.claims where batch_id = %(batch)s", facts)
    return is_news


def count(cur: cursor) -> int:
    """Return the one number that a query has selected."""
    found = cur.fetchone()
    return int(found[0]) if found else 0


def status_table(settings: PipelineSettings) -> str:
    """Return what was planned, loaded and refused, one line per batch, as text."""
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select * from landing.overview order by place nulls last, batch_id")
        rows = [
            tuple("" if value is None else str(value)[:160] for value in row[:-1])
            for row in cur.fetchall()
        ]
    header = ("batch", "rows", "status", "quarantined", "excluded", "data", "supersedes", "reason")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        for row in [header, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


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
    sys.exit(main())
