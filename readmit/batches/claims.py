"""Which run works on which batch: claims with a lease, one batch at a time."""

from datetime import timedelta

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import ledger
from readmit.settings import PipelineSettings

# A run that has not taken its next step for this long is taken for dead; dbt's part of a batch takes about a minute.
# A step that lies further ahead than that was taken before somebody put the clock back, and says nothing either.
LEASE = timedelta(minutes=10)


# Advisory locks: any number that nobody else uses.
CLAIM_LOCK = 7_241_002


def claim(dag_run_id: str, settings: PipelineSettings) -> str | None:
    """Take the next batch that waits, or the one that this run already holds; None when nothing waits.

    Two runs never get the same batch: one of them at a time looks, and what it finds is leased to it for `LEASE`.
    """
    ledger.repair(settings)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        batch_id = _next_open(cur, dag_run_id)
        if batch_id is not None:
            cur.execute(
                "insert into landing.claims (batch_id, dag_run_id) values (%s, %s) on conflict (batch_id)"
                " do update set dag_run_id = excluded.dag_run_id, claimed_at = clock_timestamp()",
                (batch_id, dag_run_id),
            )
        return batch_id


def _next_open(cur: cursor, dag_run_id: str) -> str | None:
    """Find what this run holds, else the first open slice that nobody holds and whose content nobody else brings."""
    cur.execute(
        """
        select batch_id from landing.open_slices
        where copy = 1 and (
            holder is null or holder = %(run)s
            or claimed_at not between clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s
        )
        order by (holder is not distinct from %(run)s) desc, place limit 1
        """,
        {"run": dag_run_id, "lease": LEASE},
    )
    found = cur.fetchone()
    return str(found[0]) if found else None


def release_claim(dag_run_id: str, settings: PipelineSettings) -> None:
    """Give back what a run holds, so that the next run need not wait for the end of the lease."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "delete from landing.claims where dag_run_id = %s returning batch_id", (dag_run_id,)
        )
        held = [row[0] for row in cur.fetchall()]
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("delete from ops.current_build where batch_id = any(%s)", (held,))


def waiting(settings: PipelineSettings) -> int:
    """Count the batches about which nothing has been decided yet, those in work included."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select count(*) from landing.open_slices where copy = 1")
        return ledger.count(cur)


def renew(cur: cursor, batch_id: str) -> None:
    """Start the lease of a batch anew: its run has taken the next step."""
    cur.execute(
        "update landing.claims set claimed_at = clock_timestamp() where batch_id = %s", (batch_id,)
    )
