"""Addresses of the other web pages, as the reader's browser reaches them."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from readmit.settings import Settings

LOCAL = {"127.0.0.1", "localhost", "0.0.0.0", "::1"}  # noqa: S104  compared with, never bound to


@dataclass(frozen=True)
class Links:
    """Where the pages of one installation are."""

    mlflow: str
    docs: str
    airflow: str
    grafana: str
    api: str
    model_name: str

    def run(self, run_id: str) -> str:
        """Return the page of a training run."""
        return f"{self.mlflow}/#/experiments/0/runs/{quote(run_id, safe='')}"

    def version(self, version: str | int) -> str:
        """Return the page of a model version in the registry."""
        return f"{self.mlflow}/#/models/{quote(self.model_name, safe='')}/versions/{quote(str(version), safe='')}"

    @property
    def lineage(self) -> str:
        """Return dbt's documentation with the lineage graph."""
        return f"{self.docs}/dbt/"

    @property
    def quality(self) -> str:
        """Return the index of the data-quality reports."""
        return f"{self.docs}/"


def links(settings: Settings, page_url: str | None) -> Links:
    """Return the addresses; a stack on this machine is linked by the host name that the reader used."""
    host = urlsplit(page_url or "").hostname or "127.0.0.1"

    def at(port: int) -> str:
        return f"http://{host}:{port}"

    return Links(
        mlflow=_public(settings.mlflow_tracking_uri, at(settings.mlflow_port)),
        docs=at(settings.docs_port),
        airflow=at(settings.airflow_port),
        grafana=at(settings.grafana_port),
        api=_public(settings.api_url, at(settings.api_port)),
        model_name=settings.model_name,
    )


def _public(configured: str, local: str) -> str:
    """Return the configured address unless it means this machine's loopback."""
    return local if urlsplit(configured).hostname in LOCAL else configured.rstrip("/")
