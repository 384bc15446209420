"""The page of a model version on the docs site: its model card and figures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from readmit import storage
from readmit.docs_site import html_pages
from training.training_settings import TrainingSettings

TEMPLATE = Path(__file__).parent / "templates" / "model_page.html.j2"


def publish_card(
    version: str, card: str, figures: Mapping[str, Figure], settings: TrainingSettings
) -> None:
    """Write `docs/models/<version>/`: the card as a page, and each figure as PNG."""
    for name, figure in figures.items():
        _put_figure(version, name, figure, settings)
    _put_page(version, card, list(figures), settings)


def add_figures(
    client: MlflowClient,
    registered: ModelVersion,
    figures: Mapping[str, Figure],
    settings: TrainingSettings,
) -> None:
    """Store figures with the run of a version, and add them to the version's page."""
    version = str(registered.version)
    run_id = str(registered.run_id)
    for name, figure in figures.items():
        client.log_figure(run_id, figure, f"plots/{name}.png")
        _put_figure(version, name, figure, settings)
    card = mlflow.artifacts.load_text(f"runs:/{run_id}/model_card.md")
    names = [Path(item.path).stem for item in client.list_artifacts(run_id, "plots")]
    _put_page(version, card, names, settings)


def _put_figure(version: str, name: str, figure: Figure, settings: TrainingSettings) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    storage.client("gates", settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"docs/models/{version}/{name}.png",
        Body=image.getvalue(),
        ContentType="image/png",
    )


def _put_page(version: str, card: str, names: Sequence[str], settings: TrainingSettings) -> None:
    storage.client("gates", settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"docs/models/{version}/index.html",
        Body=page(version, card, names).encode(),
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
