"""Publishes the docs site: dbt docs, data docs, data dictionary and the index, in S3 under `docs/`.

The DAG `publish_docs` calls `publish`. Gates, training and the monitor store their own pages there.
`readmit.docs_site.server` serves them.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from botocore.exceptions import ClientError
from psycopg2.extras import RealDictCursor

from readmit import db, storage
from readmit.contract.definition import Contract
from readmit.docs_site import data_dictionary, dbt_docs, html_pages
from readmit.inherited_environment import forget_the_shell
from readmit.settings import JobSettings, PipelineSettings

PREFIX = "docs/"
LINEAGE = "dbt/index.html"
RECENT = timedelta(minutes=10)
MAX_DRIFT_REPORTS = 30  # on the index: the last days; older reports stay at their addresses

Batch = Mapping[str, object]  # a row of landing.batches


def publish(settings: JobSettings) -> None:
    """Write the index of all pages, and what dbt generates unless it is recent.

    dbt needs 10 s of a core. A batch changes nothing on its pages, since they show no rows.

    Raises:
        readmit.docs_site.dbt_docs.DocsFailed: dbt failed.
    """
    if not is_recent(settings):
        _publish_lineage(settings)
    publish_index(settings)


def _publish_lineage(settings: JobSettings) -> None:
    """Generate dbt docs from the live database, and the data dictionary.

    The page of dbt comes last, since `is_recent` looks at it.
    """
    project = dbt_docs.project_digest()
    with tempfile.TemporaryDirectory() as target:
        page = dbt_docs.page(Path(target))
        contract = Contract.from_manifest(Path(target) / "manifest.json")
    _put("dictionary/index.html", dictionary_page(contract), settings)
    _put(LINEAGE, page, settings, {"project": project})


def count_waiting(settings: JobSettings) -> int:
    """Count the batches about which nothing is decided yet."""
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select count(*) from landing.overview where status in ('waiting', 'claimed', 'loaded')"
        )
        [(n_batches,)] = cur.fetchall()
    return int(n_batches)


def is_recent(settings: JobSettings) -> bool:
    """Return whether dbt's page was written within ten minutes, from the project as it is now."""
    s3 = storage.client("gates", settings)
    try:
        page = s3.head_object(Bucket=settings.s3_pipeline_bucket, Key=PREFIX + LINEAGE)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    if page["Metadata"].get("project") != dbt_docs.project_digest():
        return False
    return datetime.now(UTC) - page["LastModified"] < RECENT


def publish_index(settings: JobSettings) -> None:
    """Write the index page: batches with their verdicts, model cards, drift reports."""
    statement = (
        "select batch_id, status, n_rows, n_quarantined, n_excluded, published_at, reason"
        " from landing.batches"
        " order by coalesce(published_at, loaded_at) desc nulls last, batch_id"
    )
    with (
        db.transaction("reader", settings.raw_database, settings) as raw,
        raw.cursor(cursor_factory=RealDictCursor) as cur,
    ):
        cur.execute(statement)
        batches: Sequence[Batch] = cur.fetchall()
    drift_reports = _folders("drift/", settings)[:MAX_DRIFT_REPORTS]
    page = index(batches, _folders("models/", settings), drift_reports)
    _put("index.html", page, settings)


def dictionary_page(contract: Contract) -> str:
    """Return the data dictionary as a page."""
    text = html_pages.from_markdown(data_dictionary.page(contract))
    return html_pages.render(html_pages.TEMPLATES / "dictionary.html.j2", text=text)


def index(batches: Sequence[Batch], models: Sequence[str], drift_reports: Sequence[str]) -> str:
    """Return the index page.

    Args:
        batches: rows of the ledger, in the order of the page.
        models: versions that have a model card.
        drift_reports: days that have a drift report.
    """
    rows = []
    for batch in batches:
        # The gates that judged a batch: each of them left a page.
        gates = ["raw"]
        if batch["status"] == "refused":
            gates = []
        elif batch["status"] == "published" or str(batch["reason"]).startswith("publish gate"):
            gates = ["raw", "publish"]
        rows.append({**batch, "gates": gates})
    return html_pages.render(
        html_pages.TEMPLATES / "index.html.j2",
        batches=rows,
        models=models,
        drift_reports=drift_reports,
    )


def _put(
    name: str, page: str, settings: JobSettings, facts: Mapping[str, str] | None = None
) -> None:
    storage.client("gates", settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=PREFIX + name,
        Body=page.encode(),
        ContentType="text/html; charset=utf-8",
        Metadata=dict(facts or {}),
    )


def _folders(prefix: str, settings: JobSettings) -> list[str]:
    """Return the names of the folders below `docs/<prefix>`, the newest first."""
    names = []
    pages = storage.client("gates", settings).get_paginator("list_objects_v2")
    for page in pages.paginate(
        Bucket=settings.s3_pipeline_bucket, Prefix=PREFIX + prefix, Delimiter="/"
    ):
        for folder in page.get("CommonPrefixes", []):
            names.append(folder["Prefix"].rstrip("/").rsplit("/", 1)[-1])
    # Version 10 is newer than version 9.
    return sorted(names, key=lambda name: (len(name), name), reverse=True)


if __name__ == "__main__":
    forget_the_shell()
    publish(PipelineSettings())
