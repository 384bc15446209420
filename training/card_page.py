"""The page of a model version on the docs site: its model card and figures."""

import io
from collections.abc import Mapping, Sequence
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
    s3 = storage.client("gates", settings)
    prefix = f"docs/models/{version}"
    for name, figure in figures.items():
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=110)
        s3.put_object(
            Bucket=settings.s3_pipeline_bucket,
            Key=f"{prefix}/{name}.png",
            Body=image.getvalue(),
            ContentType="image/png",
        )
    s3.put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"{prefix}/index.html",
        Body=page(version, card, list(figures)).encode(),
        ContentType="text/html; charset=utf-8",
    )


def page(version: str, card: str, figures: Sequence[str]) -> str:
    """Return the page.

    Args:
        version: of the model.
        card: the model card in Markdown; HTML in it is escaped.
        figures: the names of the figures beside the page.
    """
    return html_pages.render(
        TEMPLATE, version=version, card=html_pages.from_markdown(card), figures=figures
    )
