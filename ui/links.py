"""Addresses of the other web pages, as the reader's browser reaches them."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ui.form_settings import FormSettings

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

    def run(self, run_id: str, experiment_id: str) -> str:
        """Return the page of a training run."""
        experiment = quote(experiment_id, safe="")
        run = quote(run_id, safe="")
        return f"{self.mlflow}/#/experiments/{experiment}/runs/{run}"

    def version(self, version: str | int) -> str:
        """Return the page of a model version in the registry."""
        model = quote(self.model_name, safe="")
        return f"{self.mlflow}/#/models/{model}/versions/{quote(str(version), safe='')}"

    @property
    def lineage(self) -> str:
        """Return dbt's documentation, opened at the lineage graph."""
        return f"{self.docs}/dbt/#!/overview?g_v=1"

    @property
    def quality(self) -> str:
        """Return the index of the data-quality reports."""
        return f"{self.docs}/"


def links(settings: FormSettings, page_url: str | None) -> Links:
    """Return the addresses.

    They are those of READMIT_PUBLIC_URL, else ports of the host that the reader used for this page,
    and with TLS if this page has it.
    """
    reader = urlsplit(page_url or "")
    host = reader.hostname or "127.0.0.1"
    scheme = reader.scheme or "http"
    if ":" in host:
        host = f"[{host}]"

    return Links(
        mlflow=_public(settings.mlflow_tracking_uri, settings.page("mlflow", host, scheme)),
        docs=settings.page("docs", host, scheme),
        airflow=settings.page("airflow", host, scheme),
        grafana=settings.page("grafana", host, scheme),
        api=_public(settings.api_url, settings.page("api", host, scheme)),
        model_name=settings.model_name,
    )


def _public(configured: str, local: str) -> str:
    """Return the configured address, or the local one when browsers elsewhere cannot reach it.

    They reach neither a loopback address nor a name inside a cluster.
    """
    host = urlsplit(configured).hostname or ""
    if host in LOCAL or "." not in host:
        return local
    return configured.rstrip("/")
