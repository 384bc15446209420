"""The docs site: dbt docs, data docs and model cards, kept in S3 under `docs/` and served as they are.

`publish()` generates dbt's pages and the index (DAG `publish_docs`); `readmit.docs_site.server` serves them.
"""

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from readmit import db, storage
from readmit.contract.definition import Contract
from readmit.docs_site import data_dictionary, dbt_docs
from readmit.settings import Settings

if TYPE_CHECKING:
    pass

PREFIX = "docs/"
HTML = "text/html; charset=utf-8"
REPORTS = 30  # drift reports on the index, of the last days; older ones stay at their addresses
ASSETS = Path(__file__).parent / "assets"


def publish(settings: Settings) -> None:
    """Generate dbt docs from the live database, the data dictionary, and the index of all pages.

    Raises:
        readmit.docs_site.dbt_docs.DocsFailed: dbt failed.
    """
    with tempfile.TemporaryDirectory() as target:
        _put("dbt/index.html", dbt_docs.page(Path(target)), settings)
        _put(
            "dictionary/index.html",
            dictionary_page(Contract.from_manifest(Path(target) / "manifest.json")),
            settings,
        )
    publish_index(settings)


def publish_index(settings: Settings) -> None:
    """Write the index page: batches with their verdicts, models, reports."""
    drift = _folders("drift/", settings)[:REPORTS]
    _put("index.html", index(_batches(settings), _folders("models/", settings), drift), settings)


def dictionary_page(contract: Contract) -> str:
    """Return the data dictionary as a page."""
    from markdown_it import MarkdownIt  # where pages are made; the server has no need of it

    text = (
        MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .render(data_dictionary.page(contract))
    )
    return Template((ASSETS / "docs_dictionary.html").read_text(encoding="utf-8")).substitute(
        text=text
    )


def _put(name: str, page: str, settings: Settings) -> None:
    storage.client(settings).put_object(
        Bucket=settings.s3_pipeline_bucket, Key=PREFIX + name, Body=page.encode(), ContentType=HTML
    )


def _batches(settings: Settings) -> list[dict[str, Any]]:
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id, status, n_rows, n_quarantined, n_excluded, data_source, published_at, reason"
            " from landing.batches order by coalesce(published_at, loaded_at) desc nulls last, batch_id"
        )
        names = [column.name for column in cur.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cur.fetchall()]


def _folders(prefix: str, settings: Settings) -> list[str]:
    """Return the names of the folders below `docs/<prefix>`, newest name first."""
    pages = (
        storage.client(settings)
        .get_paginator("list_objects_v2")
        .paginate(Bucket=settings.s3_pipeline_bucket, Prefix=PREFIX + prefix, Delimiter="/")
    )
    found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
    return sorted(
        (name.rstrip("/").rsplit("/", 1)[-1] for name in found),
        key=lambda n: (len(n), n),
        reverse=True,
    )


def index(batches: Sequence[dict[str, Any]], models: Sequence[str], drift: Sequence[str]) -> str:
    """Return the index page."""
    template = Template((ASSETS / "docs_index.html").read_text(encoding="utf-8"))
    return template.substitute(
        batches="\n".join(_row(batch) for batch in batches)
        or '<tr><td colspan="7">None yet.</td></tr>',
        models=_links("models", models, "Version"),
        drift=_links("drift", drift, "Report"),
    )


def _row(batch: dict[str, Any]) -> str:
    name, status, said = str(batch["batch_id"]), str(batch["status"]), str(batch["reason"] or "")
    pages = " · ".join(
        f'<a href="gx/{html.escape(name, quote=True)}/{gate}.html">{gate} gate</a>'
        for gate in ("raw", "publish")
        if status == "published" or gate == "raw" or said.startswith(f"{gate} gate")
    )
    reason = html.escape(said)
    published = batch["published_at"].strftime("%Y-%m-%d %H:%M") if batch["published_at"] else ""
    numbers = "".join(
        f'<td class="n">{_number(batch[key])}</td>'
        for key in ("n_rows", "n_quarantined", "n_excluded")
    )
    verdict = (
        f'<span class="verdict {html.escape(status, quote=True)}">{html.escape(status)}</span>'
    )
    shown = "" if status == "refused" else pages
    return (
        f"<tr><td><code>{html.escape(name)}</code></td><td>{verdict}</td>{numbers}"
        f"<td>{published}</td><td>{shown}<div class=reason>{reason}</div></td></tr>"
    )


def _number(value: object) -> str:
    return "" if value is None else f"{value:,}"


def _links(folder: str, names: Sequence[str], title: str) -> str:
    if not names:
        return "<p>None yet.</p>"
    items = (
        f'<li><a href="{folder}/{html.escape(n, quote=True)}/">{title} {html.escape(n)}</a></li>'
        for n in names
    )
    return "<ul>" + "".join(items) + "</ul>"


if __name__ == "__main__":
    publish(Settings())
