"""Connections that are slow or idle, to a real process: they are closed, and nobody else waits.

Four bodies that never ended once kept every other large body out for as long as their senders
liked; idle connections could take all open files, `/livez` included.
"""

import json
import resource
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from readmit import connection_limits, open_files
from tests.support.api import running
from tests.support.services import wait_until
from tests.support.serving import ROW

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
STAY = json.dumps(ROW).encode()
SMALL = b"POST /predict HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 500\r\n\r\n"
LARGE_BYTES = 15_990_000
LARGE = b"POST /predict/batch HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 15990001\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
# What is sent at once, and what is sent once a second afterwards.
SLOW = {
    "nothing": (b"", b""),
    "half a head": (b"GET /livez HTTP/1.1\r\n" + HOST, b""),
    "a head byte by byte": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: ", b"y"),
    "no body": (SMALL, b""),
    "a small body byte by byte": (SMALL + b"{", b" "),
    "a large body that stalls": (LARGE + b" " * 1_000_000, b""),
    "a large body byte by byte": (LARGE + b" " * 1_000_000, b" "),
    "empty lines after an answer": (LIVEZ, b"\r\n"),
    "half a head after an answer": (LIVEZ + b"GET /", b""),
}
SILENT = ("nothing",)  # closed without a word, as there was no request
# A check comes up to five seconds late, and this machine may be busy.
LONGEST_SECONDS = connection_limits.SMALL_BODY_SECONDS + connection_limits.CHECK_SECONDS + 5
HEAD_SECONDS = connection_limits.HEAD_SECONDS + connection_limits.CHECK_SECONDS + 5
LARGE_BATCH = b"[" + STAY + b" " * 1_000_000 + b"]"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with running(tmp_path_factory.mktemp("api"), 1) as (url, process):
        yield httpx.URL(url), process.pid


class SlowSender(threading.Thread):
    """Sends slowly until the server closes the connection; keeps what came back, and when."""

    def __init__(self, url, begin, each_second):
        super().__init__(daemon=True)
        self.answer = b""
        self.seconds = None
        self._connection = socket.create_connection((url.host, url.port), timeout=1)
        self._begin = begin
        self._each_second = each_second
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self._connection.sendall(self._begin)
            while time.monotonic() - began < 60:
                try:
                    received = self._connection.recv(1 << 16)
                except TimeoutError:
                    self._connection.sendall(self._each_second)
                    continue
                if not received:
                    break
                self.answer += received
        except ConnectionError:
            pass
        self.seconds = time.monotonic() - began
        self._connection.close()


def test_slow_senders_are_closed_with_a_reason(api):
    url, _ = api
    senders = {name: SlowSender(url, *sent) for name, sent in SLOW.items()}
    # A connection that is kept is no slow one.
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.get("/livez").raise_for_status()
        for sender in senders.values():
            sender.join(LONGEST_SECONDS)
        assert client.get("/livez").status_code == 200
    seconds = {name: sender.seconds for name, sender in senders.items()}
    for name, (begin, _) in SLOW.items():
        limit = HEAD_SECONDS
        if begin.startswith(SMALL):
            limit = LONGEST_SECONDS
        assert seconds[name] is not None, name
        assert seconds[name] < limit, name
    statuses = {name: statuses_of(sender.answer) for name, sender in senders.items()}
    expected = {}
    for name, (begin, _) in SLOW.items():
        expected[name] = []
        if begin.startswith(LIVEZ):
            expected[name].append(200)
        if name not in SILENT:
            expected[name].append(408)
    assert statuses == expected
    assert b'"code":"slow_request"' in senders["no body"].answer


def statuses_of(answer):
    return [int(part.split(b" ")[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_stalled_bodies_release_their_memory(api):
    url, _ = api
    senders = [SlowSender(url, LARGE + b" " * LARGE_BYTES, b"") for _ in range(4)]
    post = {"content": LARGE_BATCH, "headers": {"content-type": "application/json"}}

    def status():
        answer = httpx.post(url.join("/predict/batch"), **post, timeout=30, trust_env=False)
        return answer.status_code

    wait_until(lambda: status() == 503, "the bodies hold the memory", 10)
    wait_until(lambda: status() == 200, "the memory is free again", HEAD_SECONDS)
    for sender in senders:
        sender.join(LONGEST_SECONDS)


def test_unread_answers_are_dropped(api):
    url, pid = api
    rows = json.dumps([ROW] * 10_000).encode()
    head = b"POST /predict/batch?trial=true HTTP/1.1\r\n" + HOST + JSON
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect((url.host, url.port))
        port = connection.getsockname()[1]
        wait_until(lambda: is_held(pid, port), "the connection is accepted", 10)
        # The kernel holds some megabytes of answers; those beyond them are in the worker's memory.
        connection.settimeout(10)
        with suppress(OSError):
            connection.sendall(5 * (head + b"Content-Length: %d\r\n\r\n" % len(rows) + rows))
        wait_until(lambda: not is_held(pid, port), "the connection is closed", 40)


def is_held(pid, client_port):
    """Return whether the server has the connection of a client."""
    for connection in psutil.Process(pid).net_connections("tcp"):
        if connection.raddr and connection.raddr.port == client_port:
            return True
    return False


def n_sockets(pid):
    n_open = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            n_open += file.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue
    return n_open


def test_livez_answers_while_5000_idle_connections_are_held(tmp_path):
    assert not open_files.raise_limit()
    with running(tmp_path, 1) as (address, process):
        url = httpx.URL(address)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (4_096, 4_096))
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.post("/predict", json=ROW).status_code == 200
            idle = []
            try:
                for _ in range(5_000):
                    idle.append(socket.create_connection((url.host, url.port), timeout=20))
                for _ in range(20):
                    answer = httpx.get(url.join("/livez"), timeout=5, trust_env=False)
                    assert answer.status_code == 200
                # Those go first that never sent a request.
                assert client.post("/predict", json=ROW).status_code == 200
                assert n_sockets(process.pid) < 4_096
            finally:
                for connection in idle:
                    connection.close()
        assert "Traceback" not in (tmp_path / "api.log").read_text()
