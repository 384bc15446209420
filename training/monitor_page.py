"""The drift report on the docs site: one page a day, without scripts and without anything from elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from readmit import storage
from readmit.docs_site import html_pages
from training.drift import Shift
from training.training_settings import MIN_CASES, MIN_ROWS, REQUEST_DAYS, MonitorSettings

if TYPE_CHECKING:
    from training.monitor import Report

TEMPLATE = Path(__file__).parent / "templates" / "drift_page.html.j2"
SHOWN = 6  # columns whose values are drawn; drifted ones always are


def publish(found: "Report", settings: MonitorSettings) -> None:
    """Write `docs/drift/<day>/index.html`; a second look on the same day replaces it."""
    storage.client(settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"docs/drift/{found.made_at:%Y-%m-%d}/index.html",
        Body=page(found, settings).encode(),
        ContentType="text/html; charset=utf-8",
    )


def page(found: "Report", settings: MonitorSettings) -> str:
    """Return the page."""
    compared = [*(found.score or []), *found.features]
    return html_pages.render(
        TEMPLATE,
        report=found,
        settings=settings,
        request_days=REQUEST_DAYS,
        min_rows=MIN_ROWS,
        min_cases=MIN_CASES,
        compared=compared,
        drawn=drawn(compared),
    )


def drawn(compared: list[Shift]) -> list[Shift]:
    """Return the columns whose values are drawn: the drifted ones, and those that moved most."""
    furthest = sorted(compared, key=lambda shift: -shift.distance)[:SHOWN]
    return [shift for shift in compared if shift.drifted or shift in furthest]
