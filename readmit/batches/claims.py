"""Which run works on which build: one queue of corrections and batches, and claims with a lease."""

import logging

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import builds, corrections, ledger, rebuilds
from readmit.batches.builds import LEASE, Build
from readmit.intake import disk_space
from readmit.settings import PipelineSettings

log = logging.getLogger("readmit")

# An advisory lock of database `raw`: one run at a time looks for work. Any number that nobody else
# uses.
CLAIM_LOCK = 7_241_002


def claim(dag_run_id: str, settings: PipelineSettings) -> Build | None:
    """Claim the next build that waits, or return the one that this run holds already.

    While a rebuild for another contract is under way, nothing else is built. Then corrections come
    first, in the order in which they were released; then slices, in the order of
    docs/batches.md. Two runs never get the same build: they look one after the other, and a claim
    holds for `LEASE`.

    Returns:
        The build, or None when nothing waits.
    """
    ledger.repair(settings)
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        queue = rebuilds.waiting(settings) or [
            *corrections.waiting(settings),
            *_open_batches(cur),
        ]
        # A claim of another run counts until its lease ends.
        cur.execute(
            "select build_id, dag_run_id from landing.claims where dag_run_id = %(run)s or"
            " claimed_at between clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s",
            {"run": dag_run_id, "lease": LEASE},
        )
        holders = {str(build_id): str(holder) for build_id, holder in cur.fetchall()}
        own = [build for build in queue if holders.get(build.build_id) == dag_run_id]
        free = [build for build in queue if build.build_id not in holders]
        build = next(iter([*own, *free]), None)
        if build is not None:
            cur.execute(
                "insert into landing.claims (build_id, dag_run_id) values (%s, %s)"
                " on conflict (build_id)"
                " do update set dag_run_id = excluded.dag_run_id, claimed_at = clock_timestamp()",
                (build.build_id, dag_run_id),
            )
        return build


def claim_and_begin(dag_run_id: str, settings: PipelineSettings) -> Build | None:
    """Claim the next build and take the build lock for it; None when nothing waits.

    Raises:
        BuildBusy: another build is under way; this run then holds no claim.
        NoRoom: the disk is almost full; nothing is claimed.
    """
    disk_space.stop_ingestion_without_room(settings.readmit_home)
    build = claim(dag_run_id, settings)
    if build is None:
        return None
    try:
        build.begin(settings)
    except builds.BuildBusy:
        release_claim(dag_run_id, settings)
        raise
    log.info("%s (%s) is claimed by this run", build.build_id, build.kind)
    return build


def _open_batches(cur: cursor) -> list[Build]:
    """Return the slices about which nothing is decided, in the order of work.

    Of several slices with the same content only the first is returned.
    """
    cur.execute("select batch_id from landing.open_slices where copy = 1 order by queue_position")
    return [Build.of_batch(str(row[0])) for row in cur.fetchall()]


def renew(build_id: str, settings: PipelineSettings) -> None:
    """Start the leases of a build anew: its run has taken the next step."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        renew_claim(cur, build_id)
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "update ops.current_build set set_at = clock_timestamp() where build_id = %s",
            (build_id,),
        )


def renew_claim(cur: cursor, build_id: str) -> None:
    """Start the lease of a claim anew. The transaction holds the claim's row until it ends."""
    cur.execute(
        "update landing.claims set claimed_at = clock_timestamp() where build_id = %s", (build_id,)
    )


def release_claim(dag_run_id: str, settings: PipelineSettings) -> None:
    """Release what a run holds, so that the next run need not wait for the end of the lease."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "delete from landing.claims where dag_run_id = %s returning build_id", (dag_run_id,)
        )
        build_ids = [str(row[0]) for row in cur.fetchall()]
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("delete from ops.current_build where build_id = any(%s)", (build_ids,))
    log.info("released: %s", ", ".join(build_ids) or "nothing, this run holds no claim")


def waiting(settings: PipelineSettings) -> list[Build]:
    """Return the builds about which nothing is decided yet, those under way included."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        batches = _open_batches(cur)
    return [*rebuilds.waiting(settings), *corrections.waiting(settings), *batches]


def count_waiting(settings: PipelineSettings) -> int:
    """Count the builds about which nothing is decided yet, those under way included."""
    return len(waiting(settings))
