"""The docs site: `docs/` of the bucket, served read-only. `python -m readmit.docs_site.server`."""

import html
import logging
import os
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from readmit import storage
from readmit.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("docs_site")

PREFIX = "docs/"
HTML = "text/html; charset=utf-8"
TIMEOUT_SECONDS = 30
ICON = "/favicon.ico"  # every browser asks for it, whatever a page says
NOT_YET = "Nothing has been published yet: the pages appear when the first batch is published."
ASSETS = Path(__file__).parent / "assets"


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
            return (
                HTTPStatus.OK,
                found.get("ContentType", "application/octet-stream"),
                found["Body"].read(),
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NoSuchBucket"):
                return self._missing(name)
            log.warning("S3 refused %s: %s", name, error)
        except BotoCoreError as error:
            log.warning("S3 cannot be reached: %s", error)
        return _plain(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The object store that holds the pages cannot be reached.",
        )

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


def main() -> int:
    """Serve until the process is ended; DOCS_HOST is the address to listen on, by default loopback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings()
    # The first process of a container gets no signal that it does not catch.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    host = os.environ.get("DOCS_HOST", "127.0.0.1")
    with make_server(settings, host, settings.docs_port) as server:
        log.info("serving on http://%s:%d", host, settings.docs_port)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
