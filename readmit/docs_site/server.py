"""The docs site: `docs/` of the bucket, served read-only. `python -m readmit.docs_site.server`."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path, PurePosixPath

import uvicorn
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from readmit import allowed_hosts, open_files, storage
from readmit.allowed_hosts import AllowedHosts
from readmit.connection_limits import BoundedConnection
from readmit.docs_site import html_pages
from readmit.settings import ROOT, DocsSiteSettings
from readmit.telemetry.json_logs import log_as_json

log = logging.getLogger("docs_site")

PREFIX = "docs/"
GUIDE = ROOT / "build" / "guide"
ICON = (Path(__file__).parent / "assets" / "favicon.png").read_bytes()
# Our own pages need no script, and no page loads or sends anything elsewhere.
POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The pages of Great Expectations and dbt have scripts in them. The sandbox takes their origin away:
# a script that somebody writes into the bucket cannot act with the reader's log-in.
SCRIPTS = "; sandbox allow-scripts allow-popups; script-src 'self' 'unsafe-inline'"
POLICY_OF = {
    "gx/": POLICY + SCRIPTS,
    "dbt/": POLICY + SCRIPTS + " 'unsafe-eval'; worker-src blob:",
}
# The guide is made from files of the repository, so its scripts are ours: the search, and Mermaid.
GUIDE_POLICY = POLICY + "; script-src 'self' 'unsafe-inline'; connect-src 'self'; worker-src 'self'"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": POLICY,
}
# The type follows from the end of the name, not from the object: its writer chose that type.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}
CHUNK_BYTES = 65_536
SHUTDOWN_SECONDS = 10  # for answers under way; Kubernetes waits 30 s
NOT_FOUND = "There is no such page."
NO_GUIDE = "The guide has not been built: `make guide` builds it."
NOT_YET = "Nothing has been published yet: the pages appear when the first batch is published."
STORE_AWAY = "The object store that holds the pages cannot be reached."
UNKNOWN_HOST = (
    "The docs site is not reached by this name: READMIT_DOCS_ALLOWED_HOSTS lists its names."
)


class Site:
    """Answers with the objects below `docs/`, and with a plain page where there is none."""

    def __init__(self, settings: DocsSiteSettings) -> None:
        self._bucket = settings.s3_pipeline_bucket
        self._s3 = storage.client("docs", settings)

    def page(self, request: Request) -> Response:
        """Return the object at a path; the path of a folder leads to its index."""
        name = request.scope["path"].lstrip("/")
        if not name or name.endswith("/"):
            name += "index.html"
        content_type = CONTENT_TYPES.get(PurePosixPath(name).suffix)
        leads_outside = ".." in name.split("/") or "\x00" in name or "\\" in name
        if leads_outside or content_type is None:
            return _message(HTTPStatus.NOT_FOUND, NOT_FOUND)
        try:
            stored = self._s3.get_object(Bucket=self._bucket, Key=PREFIX + name)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                if name == "index.html":
                    return _message(HTTPStatus.OK, NOT_YET)
                return _message(HTTPStatus.NOT_FOUND, NOT_FOUND)
            log.warning("S3 refused %s: %s", name, error)
            return _message(HTTPStatus.SERVICE_UNAVAILABLE, STORE_AWAY)
        except BotoCoreError as error:
            log.warning("S3 cannot be reached: %s", error)
            return _message(HTTPStatus.SERVICE_UNAVAILABLE, STORE_AWAY)
        folder = name.partition("/")[0] + "/"
        headers = HEADERS | {
            "Content-Security-Policy": POLICY_OF.get(folder, POLICY),
            "Content-Type": content_type,
            "Content-Length": str(stored["ContentLength"]),
        }
        return StreamingResponse(_chunks(stored["Body"]), headers=headers)


class Guide:
    """Answers with the pages that MkDocs made from README and `docs/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer: Response = _message(HTTPStatus.NOT_FOUND, NO_GUIDE)
        if self._folder.is_dir():
            answer = await self._files.get_response(self._files.get_path(scope), scope)
            answer.headers.update(HEADERS | {"Content-Security-Policy": GUIDE_POLICY})
        await answer(scope, receive, send)


def _chunks(body: StreamingBody) -> Iterator[bytes]:
    """Yield an object piece by piece: it never lies in memory as a whole."""
    with closing(body):
        yield from body.iter_chunks(CHUNK_BYTES)


def _message(status: int, message: str) -> Response:
    page = html_pages.render(html_pages.TEMPLATES / "message.html.j2", message=message)
    return HTMLResponse(page, status, HEADERS)


def is_alive(_: Request) -> Response:
    """Answer that the process runs; it does not look at the object store."""
    return PlainTextResponse("alive\n", headers=HEADERS)


def icon(_: Request) -> Response:
    """Return `/favicon.ico`, which every browser asks for, whatever a page names."""
    return Response(ICON, media_type="image/png", headers=HEADERS)


def to_guide(_: Request) -> Response:
    """Lead the address without its slash to the guide's first page."""
    return RedirectResponse("guide/", headers=HEADERS)


def http_error(_: Request, error: Exception) -> Response:
    """Return the page of an address or a method that no route has."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == HTTPStatus.NOT_FOUND:
        return _message(status, NOT_FOUND)
    return _message(status, HTTPStatus(status).phrase)


class HostCheck:
    """Refuses requests whose Host header has another name than ours (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._hosts.permits(dict(scope["headers"]).get(b"host", b"")):
            await self._app(scope, receive, send)
        else:
            refusal = _message(HTTPStatus.MISDIRECTED_REQUEST, UNKNOWN_HOST)
            await refusal(scope, receive, send)


def create_app(settings: DocsSiteSettings, guide: Path = GUIDE) -> Starlette:
    """Return the site as an ASGI application.

    Args:
        settings: the settings of the docs site.
        guide: the folder with the pages of the guide.
    """
    routes = [
        Route("/livez", is_alive),
        Route("/favicon.ico", icon),
        Route("/guide", to_guide),
        Mount("/guide", Guide(guide)),
        Route("/{path:path}", Site(settings).page),
    ]
    hosts = AllowedHosts(allowed_hosts.names(settings.docs_allowed_hosts))
    return Starlette(
        routes=routes,
        middleware=[Middleware(HostCheck, hosts=hosts)],
        exception_handlers={HTTPException: http_error},
    )


def main() -> None:
    """Serve until SIGTERM. READMIT_DOCS_HOST is the address to listen on, by default loopback."""
    log_as_json("docs_site", "readmit", "uvicorn")
    settings = DocsSiteSettings()
    if too_low := open_files.raise_limit():
        log.warning(too_low)
    # uvicorn ends gracefully and then raises the signal again: this handler makes it a success. It
    # also holds before uvicorn runs; the first process of a container ignores a signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    uvicorn.run(
        create_app(settings),
        host=os.environ.get("READMIT_DOCS_HOST", "127.0.0.1"),
        port=settings.docs_port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        http=BoundedConnection,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
