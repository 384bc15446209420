"""Report the ledger of batches to the Pushgateway."""

from readmit import db
from readmit.intake.source_counts import source_counts
from readmit.settings import PipelineSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

STATUSES = ("waiting", "claimed", "loaded", "published", "rejected", "superseded", "refused")


def report_batches(settings: PipelineSettings) -> None:
    """Report the batches by state, the rows held back, and the batch that was published last."""
    pushgateway.report(Job.INGEST, lambda: gauges(settings), settings)


def gauges(settings: PipelineSettings) -> pushgateway.GaugeValues:
    """Return the ledger as gauges."""
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select status, count(*) from landing.overview group by status")
        counts = {str(status): int(n_batches) for status, n_batches in cur.fetchall()}
        cur.execute(
            "select coalesce(sum(n_quarantined), 0) from landing.batches where status = 'published'"
        )
        (n_quarantined,) = cur.fetchone() or (0,)
        cur.execute(
            "select extract(epoch from published_at), extract(epoch from published_at - loaded_at),"
            " n_rows - n_erased, n_rows - n_erased - n_quarantined - n_excluded, n_quarantined,"
            " n_excluded"
            " from landing.batches where status = 'published' order by published_at desc limit 1"
        )
        published_at, seconds, *rows = cur.fetchone() or (None,) * 6
        cur.execute("select count(*) from landing.proposals where state = 'open'")
        (n_proposals,) = cur.fetchone() or (0,)
    last_source = source_counts(settings)[-1:]
    kinds = ("arrived", "features", "quarantined", "excluded")
    return {
        "readmit_batches": {status: counts.get(status, 0) for status in STATUSES},
        "readmit_quarantined_rows": n_quarantined,
        "readmit_source_rows": {
            "known": sum(source.n_known for source in last_source),
            "changed": sum(source.n_changed for source in last_source),
            "sliced": sum(source.n_sliced for source in last_source),
        },
        "readmit_proposals": n_proposals,
        "readmit_data_published_timestamp_seconds": published_at,
        "readmit_batch_seconds": seconds,
        "readmit_batch_rows": dict(zip(kinds, rows, strict=True)),
    }
