"""The drift report on the docs site: one page per day, which loads nothing from other hosts."""

from pathlib import Path

from readmit import storage
from readmit.docs_site import html_pages
from training.drift import Shift
from training.drift_report import DriftReport
from training.training_settings import MIN_CASES, MIN_ROWS, REQUEST_DAYS, MonitorSettings

TEMPLATE = Path(__file__).parent / "templates" / "drift_page.html.j2"
N_DRAWN = 6  # columns whose values are drawn; drifted ones always are


def publish(report: DriftReport, settings: MonitorSettings) -> None:
    """Write `docs/drift/<day>/index.html`; a second run on the same day replaces it."""
    storage.client("gates", settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"docs/drift/{report.made_at:%Y-%m-%d}/index.html",
        Body=page(report, settings).encode(),
        ContentType="text/html; charset=utf-8",
    )


def page(report: DriftReport, settings: MonitorSettings) -> str:
    """Return the report as an HTML page."""
    compared = [*(report.score or []), *report.features]
    return html_pages.render(
        TEMPLATE,
        report=report,
        settings=settings,
        request_days=REQUEST_DAYS,
        min_rows=MIN_ROWS,
        min_cases=MIN_CASES,
        compared=compared,
        drawn=drawn(compared),
    )


def drawn(compared: list[Shift]) -> list[Shift]:
    """Return the columns whose values are drawn: the drifted ones, and those with most drift."""
    furthest = sorted(compared, key=lambda shift: -shift.distance)[:N_DRAWN]
    return [shift for shift in compared if shift.drifted or shift in furthest]
