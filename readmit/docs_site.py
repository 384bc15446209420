"""The docs site: dbt docs, data docs and model cards, kept in S3 under `docs/` and served as they are.

`publish()` generates dbt's pages and the index (DAG `publish_docs`); `python -m readmit.docs_site serve` is the site.
"""

import html
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from readmit import db, dbt_docs, dictionary, storage
from readmit.contract import Contract
from readmit.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("docs_site")

PREFIX = "docs/"
HTML = "text/html; charset=utf-8"
TIMEOUT_SECONDS = 30
REPORTS = 30  # drift reports on the index, of the last days; older ones stay at their addresses
ICON = "/favicon.ico"  # every browser asks for it, whatever a page says
NOT_YET = "Nothing has been published yet: the pages appear when the first batch is published."
ASSETS = Path(__file__).parent / "assets"


# ---------------------------------------------------------------- publishing


def publish(settings: Settings | None = None) -> None:
    """Generate dbt docs from the live database, the data dictionary, and the index of all pages.

    Raises:
        readmit.dbt_docs.DocsFailed: dbt failed.
    """
    known = settings or Settings()
    with tempfile.TemporaryDirectory() as target:
        _put("dbt/index.html", dbt_docs.page(Path(target)), known)
        _put("dictionary/index.html", data_dictionary(Contract.from_manifest(Path(target) / "manifest.json")), known)
    publish_index(known)


def publish_index(settings: Settings) -> None:
    """Write the index page: batches with their verdicts, models, reports."""
    drift = _folders("drift/", settings)[:REPORTS]
    _put("index.html", index(_batches(settings), _folders("models/", settings), drift), settings)


def data_dictionary(contract: Contract) -> str:
    """Return the data dictionary as a page."""
    from markdown_it import MarkdownIt  # where pages are made; the server has no need of it

    text = MarkdownIt("commonmark", {"html": False}).enable("table").render(dictionary.page(contract))
    return Template((ASSETS / "docs_dictionary.html").read_text(encoding="utf-8")).substitute(text=text)


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
    return sorted((name.rstrip("/").rsplit("/", 1)[-1] for name in found), key=lambda n: (len(n), n), reverse=True)


def index(batches: Sequence[dict[str, Any]], models: Sequence[str], drift: Sequence[str]) -> str:
    """Return the index page."""
    template = Template((ASSETS / "docs_index.html").read_text(encoding="utf-8"))
    return template.substitute(
        batches="\n".join(_row(batch) for batch in batches) or '<tr><td colspan="7">None yet.</td></tr>',
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
    numbers = "".join(f'<td class="n">{_number(batch[key])}</td>' for key in ("n_rows", "n_quarantined", "n_excluded"))
    verdict = f'<span class="verdict {html.escape(status, quote=True)}">{html.escape(status)}</span>'
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
    items = (f'<li><a href="{folder}/{html.escape(n, quote=True)}/">{title} {html.escape(n)}</a></li>' for n in names)
    return "<ul>" + "".join(items) + "</ul>"


# ---------------------------------------------------------------- serving


class Site(BaseHTTPRequestHandler):
    """Serves `docs/` of the bucket, read-only."""

    server_version = "readmit-docs"
    sys_version = ""
    timeout = TIMEOUT_SECONDS
    settings: Settings
    s3: "S3Client"

    def do_GET(self) -> None:
        """Answer with the object, the index of its folder, or a plain page that says what is wrong."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/livez":
            self._send(HTTPStatus.OK, "text/plain", b"alive\n", with_body)
            return
        if path == ICON:
            self._send(HTTPStatus.OK, "image/png", (ASSETS / "favicon.png").read_bytes(), with_body)
            return
        status, kind, body = self._find(path)
        self._send(status, kind, body, with_body)

    def _find(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        name = path.lstrip("/") + ("index.html" if path.endswith("/") else "")
        if ".." in name.split("/") or "\x00" in name or "\\" in name:
            return _plain(HTTPStatus.NOT_FOUND, "There is no such page.")
        try:
            found = self.s3.get_object(Bucket=self.settings.s3_pipeline_bucket, Key=PREFIX + name)
            return HTTPStatus.OK, found.get("ContentType", "application/octet-stream"), found["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NoSuchBucket"):
                return self._missing(name)
            log.warning("S3 refused %s: %s", name, error)
        except BotoCoreError as error:
            log.warning("S3 cannot be reached: %s", error)
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, "The object store that holds the pages cannot be reached.")

    def _missing(self, name: str) -> tuple[HTTPStatus, str, bytes]:
        if name == "index.html":
            return _plain(HTTPStatus.OK, NOT_YET)
        return _plain(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _send(self, status: HTTPStatus, kind: str, body: bytes, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "same-origin")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 (the base class names it so)
        """Log requests at debug level, so that probes do not fill the log."""
        log.debug(format, *args)


def _plain(status: HTTPStatus, text: str) -> tuple[HTTPStatus, str, bytes]:
    template = Template((ASSETS / "docs_message.html").read_text(encoding="utf-8"))
    return status, HTML, template.substitute(text=html.escape(text)).encode()


def make_server(settings: Settings, host: str, port: int) -> ThreadingHTTPServer:
    """Return the server, bound and not yet running."""
    site = type("BoundSite", (Site,), {"settings": settings, "s3": storage.client(settings)})
    server = ThreadingHTTPServer((host, port), site)
    server.daemon_threads = True
    return server


def main(arguments: Sequence[str]) -> int:
    """`serve` (DOCS_HOST, default loopback) or `publish`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings()
    if list(arguments) == ["publish"]:
        publish(settings)
        return 0
    if list(arguments) != ["serve"]:
        sys.stderr.write("usage: python -m readmit.docs_site serve|publish\n")
        return 2
    # The first process of a container gets no signal that it does not catch.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    host = os.environ.get("DOCS_HOST", "127.0.0.1")
    with make_server(settings, host, settings.docs_port) as server:
        log.info("serving on http://%s:%d", host, settings.docs_port)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
