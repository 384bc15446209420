"""A local server of made-up releases, whose program is a small script."""

import hashlib
import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from stack import releases
from stack.releases import Release

PLATFORM = releases.this_platform()
SCRIPT = b"#!/bin/sh\necho tool 1.0\n"


def archive(*entries: tuple[str, bytes] | tarfile.TarInfo, mode: int = 0o755) -> bytes:
    """Return an archive with files, given by name and content, and ready-made entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            info.mode = mode
            tar.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry


GOOD = archive(("tool-1.0/bin/tool", SCRIPT), ("tool-1.0/conf/defaults.ini", b"a=1"))


def release(content: bytes, url: str, digest: str = "") -> Release:
    digest = digest or hashlib.sha256(content).hexdigest()
    return Release(
        "tool",
        "Tool",
        "1.0",
        "bin/tool",
        url + "/tool-{version}.{platform}.tar.gz",
        {PLATFORM: digest},
    )


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends what the test chose; `requests` has each request line."""

    content = GOOD
    status = 200
    announced = 0
    pause = 0.0
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path.endswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        self.send_response(self.status)
        self.send_header("Content-Length", str(self.announced or len(self.content)))
        self.end_headers()
        try:
            if self.pause:
                for byte in self.content:
                    self.wfile.write(bytes([byte]))
                    time.sleep(self.pause)
            else:
                self.wfile.write(self.content)
        except OSError:
            pass  # the client gave up

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def server(**attributes: object) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server that answers so, and its list of requests."""
    requests: ClassVar[list[str]] = []
    handler = type("Chosen", (Handler,), {**attributes, "requests": requests})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()
