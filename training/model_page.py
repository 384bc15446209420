"""The page of a model version on the docs site: its card and figures."""

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from readmit import storage
from readmit.docs_site import html_pages
from training.training_settings import TrainingSettings

TEMPLATE = Path(__file__).parent / "templates" / "model_page.html.j2"


def publish_card(
    version: str, card: str, figures: Mapping[str, Figure], settings: TrainingSettings
) -> None:
    """Write `docs/models/<version>/`: the card as a page, and each figure as PNG."""
    s3, prefix = storage.client(settings), f"docs/models/{version}"
    for name, figure in figures.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
        key = f"{prefix}/{name}.png"
        s3.put_object(
            Bucket=settings.s3_pipeline_bucket,
            Key=key,
            Body=drawn.getvalue(),
            ContentType="image/png",
        )
    body = page(version, card, list(figures)).encode()
    key = f"{prefix}/index.html"
    s3.put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=key,
        Body=body,
        ContentType="text/html; charset=utf-8",
    )


def page(version: str, card: str, figures: list[str]) -> str:
    """Return the page. HTML in the card's Markdown is escaped."""
    text = html_pages.from_markdown(card)
    return html_pages.render(TEMPLATE, version=version, card=text, figures=figures)
