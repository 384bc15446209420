"""A web server whose answers a test sets."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Server(BaseHTTPRequestHandler):
    """Answers with the list of answers of each path; the last one is repeated."""

    answers: ClassVar[dict[str, list[tuple[int, str, bytes]]]] = {}
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        answers = self.answers[self.path.split("?")[0]]
        status, kind, body = answers[0]
        if len(answers) > 1:
            del answers[0]
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        if kind.startswith("redirect/"):
            status = 302
            headers["Location"] = self.path
        if kind == "redirect/file":
            headers["Location"] = "file:///etc/passwd"
        if kind == "not/gzip":
            headers["Content-Encoding"] = "gzip"
        if kind == "cut/off":
            headers["Content-Length"] = str(2 * len(body))
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        with suppress(OSError):  # a client that waits no longer hangs up
            if kind != "slow/drip":
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """Run the server without answers; yields its address."""
    Server.answers.clear()
    Server.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
