"""What the ledger of batches tells the Pushgateway."""

from typing import Any

from readmit import db
from readmit.settings import PipelineSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

STATUSES = ("waiting", "claimed", "loaded", "published", "rejected", "superseded", "refused")


def ledger(settings: PipelineSettings) -> None:
    """Report the batches by state, the rows held back, and the batch that was published last."""
    pushgateway.report(Job.INGEST, lambda: _states(settings) | _last_published(settings), settings)


def _states(settings: PipelineSettings) -> dict[str, Any]:
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select status, count(*) from landing.overview group by status")
        counts = {str(status): int(n) for status, n in cur.fetchall()}
        cur.execute(
            "select coalesce(sum(n_quarantined), 0) from landing.batches where status = 'published'"
        )
        (held_back,) = cur.fetchone() or (0,)
    return {
        "readmit_batches": {status: counts.get(status, 0) for status in STATUSES},
        "readmit_quarantined_rows": held_back,
    }


def _last_published(settings: PipelineSettings) -> dict[str, Any]:
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select extract(epoch from published_at), extract(epoch from published_at - loaded_at),"
            " n_rows, n_rows - n_quarantined - n_excluded, n_quarantined, n_excluded from landing.batches"
            " where status = 'published' order by published_at desc limit 1"
        )
        published_at, seconds, *rows = cur.fetchone() or (None,) * 6
    return {
        "readmit_data_published_timestamp_seconds": published_at,
        "readmit_batch_seconds": seconds,
        "readmit_batch_rows": dict(
            zip(("arrived", "features", "quarantined", "excluded"), rows, strict=True)
        ),
    }
