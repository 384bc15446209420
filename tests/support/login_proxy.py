"""A running log-in proxy: nginx as on one machine, before small upstreams that say what arrives."""

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from readmit.settings import StackSettings
from stack import login_proxy
from stack.postgres import give_to_ordinary_user
from tests.support.services import end, free_port, wait_until

PASSWORD = "opened-by-me"
LOGIN = ("readmit", PASSWORD)


class Echo(BaseHTTPRequestHandler):
    """Answers with what arrived: method, path, headers and the length of the body."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        document = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "n_bytes": len(body),
        }
        text = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@dataclass(frozen=True)
class Proxy:
    """A proxy that answers, and the file of its output."""

    settings: StackSettings
    output: Path

    def address(self, part: str) -> str:
        """Return the address of a page through the proxy."""
        return f"https://127.0.0.1:{login_proxy.ports(self.settings)[part]}"

    def client(self, part: str, **options: object) -> httpx.Client:
        """Return a client of a page, which trusts the self-signed certificate."""
        certificate = login_proxy.folder(self.settings) / "certificate.pem"
        return httpx.Client(
            base_url=self.address(part),
            verify=ssl.create_default_context(cafile=str(certificate)),
            trust_env=False,
            **options,
        )


@contextmanager
def running(home: Path, **values: object) -> Iterator[Proxy]:
    """Run nginx with the configuration of one machine, on every address of it."""
    chosen: dict[str, object] = {
        "readmit_home": home,
        "readmit_listen_address": "0.0.0.0",
        "proxy_port": free_port(tuple(range(len(login_proxy.PAGES) + 1))),
        "proxy_password": PASSWORD,
    }
    settings = StackSettings(**(chosen | values))
    login_proxy.write_files(settings)
    output = home / "nginx.log"
    with output.open("wb") as file:
        if os.geteuid() == 0:
            give_to_ordinary_user(output)
        process = subprocess.Popen(login_proxy.command(settings), stdout=file, stderr=file)
    try:
        health = f"http://127.0.0.1:{login_proxy.health_port(settings)}/livez"
        wait_until(lambda: is_success(health), "nginx does not answer", seconds=20)
        yield Proxy(settings, output)
    finally:
        end(process)


def is_success(address: str) -> bool:
    """Return whether an address answers with success."""
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def echoes() -> Iterator[dict[str, int]]:
    """Run an echo for each part; yields their ports by the name of the setting."""
    with ExitStack() as stack:
        ports = {}
        for page in login_proxy.PAGES:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ports[f"{page.part}_port"] = server.server_address[1]
        yield ports
