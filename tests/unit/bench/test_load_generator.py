"""The bench's load generator against a real server, and which of several loads is compared."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bench import alternatives, api_speed
from bench.figure import CannotMeasure
from bench.load_generator import Load, LoadFailed, answer_seconds, content_length, p95, requests


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        if self.path == "/wrong":
            self.send_response(500)
        else:
            self.send_response(200)
        self.send_header("Content-Length", "300000")  # comes in several parts
        self.end_headers()
        with suppress(ConnectionError):  # the generator hangs up when its time is over
            self.wfile.write(b"x" * 300_000)

    def log_message(self, *_):
        pass


@contextmanager
def running():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_whole_answers_are_counted_and_the_requests_are_sent_in_turn():
    Echo.bodies.clear()
    with running() as port:
        times = answer_seconds(
            port, requests("/", [{"a": 1}, {"b": 2}]), connections=2, seconds=0.5
        )
    assert len(times) > 2
    assert 0 < min(times) <= max(times) < 1
    assert set(Echo.bodies) == {b'{"a":1}', b'{"b":2}'}
    assert len(times) <= len(Echo.bodies) <= len(times) + 2


def test_another_answer_than_200_ends_the_run():
    with running() as port, pytest.raises(LoadFailed, match="500"):
        answer_seconds(port, requests("/wrong", [{}]), connections=1, seconds=0.5)


def test_the_end_of_an_answer_is_known_or_an_error():
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12") == 12
    with pytest.raises(LoadFailed, match="without Content-Length"):
        content_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked")


@pytest.mark.parametrize(
    ("times", "expected"), [([], float("inf")), ([3.0], 3.0), (list(range(1, 101)), 95)]
)
def test_p95(times, expected):
    assert p95(times) == expected


def load_of(rate, p95_ms=1.0, server=1.0, generator=0.1):
    return Load(rate, p95_ms, generator, server)


def test_the_best_load_is_within_the_limit():
    loads = {1: load_of(10, 16), 4: load_of(12, 70), 16: load_of(13, 270)}
    assert alternatives.best(loads, 250) == (4, loads[4])
    with pytest.raises(CannotMeasure, match=r"above 5\.0 ms"):
        alternatives.best(loads, 5)


def test_the_middle_rate_counts_and_a_server_without_its_core_is_not_measured():
    assert api_speed.median([load_of(3), load_of(1), load_of(2)]).rate == 2
    with pytest.raises(CannotMeasure, match="machine is busy"):
        api_speed.median([load_of(1, server=0.3)] * 3)
