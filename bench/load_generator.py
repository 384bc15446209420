"""The load generator: raw sockets and requests made beforehand.

A connection sends its next request as soon as it has an answer.

Python's HTTP clients need more of a core for a request than the API does. This one measures its own
headroom: `Load` says which share of its core it used.
"""

import itertools
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import orjson

from bench.servers import Server, generator_core

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Above it the generator, not the server, may be what limits the rate.
MOST_BUSY = 0.9
PATIENCE_SECONDS = 30


class LoadFailed(Exception):
    """The server answered with another status than 200, or not at all.

    The message has the answer.
    """


@dataclass(frozen=True)
class Load:
    """Requests/s, p95 in ms, and the shares of their cores that generator and server used."""

    rate: float
    p95_ms: float
    generator: float
    server: float

    @property
    def is_generator_bound(self) -> bool:
        """Tell whether the server could have answered more."""
        return self.generator > MOST_BUSY

    def __str__(self) -> str:
        shares = f"server {self.server:.0%} of its core, generator {self.generator:.0%}"
        return f"{self.rate:.0f}/s, p95 {self.p95_ms:.1f} ms, {shares}"


class Connection:
    """A connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._answer = b""

    def send(self, request: bytes) -> None:
        """Send a request; the answer before it is dropped."""
        self._answer = b""
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what has arrived; tell whether the answer is whole.

        Raises:
            LoadFailed: it is not a 200.
        """
        received = self.socket.recv(1 << 18)
        self._answer += received
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        is_head_whole = bool(separator)
        if not received or (is_head_whole and not head.startswith(b"HTTP/1.1 200")):
            answer = self._answer[:1000].decode(errors="replace")
            raise LoadFailed(answer or "the server closed the connection")
        return is_head_whole and len(body) >= content_length(head)


def content_length(head: bytes) -> int:
    """Return the length that the head of an answer announces.

    Raises:
        LoadFailed: it announces none, so the end of the answer is unknown.
    """
    match = LENGTH.search(head)
    if match is None:
        raise LoadFailed(f"an answer without Content-Length: {head[:500].decode(errors='replace')}")
    return int(match[1])


def requests(path: str, bodies: Sequence[object], api_key: str = "") -> list[bytes]:
    """Return whole requests with bodies as JSON, and with the API key if there is one."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if api_key:
        head += f"X-API-Key: {api_key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: "
    whole_requests = []
    for body in bodies:
        content = orjson.dumps(body)
        whole_requests.append(f"{head}{len(content)}\r\n\r\n".encode() + content)
    return whole_requests


def answer_seconds(
    port: int, to_send: Sequence[bytes], connections: int, seconds: float
) -> list[float]:
    """Send the requests in turn for so long; returns the seconds that each answer took."""
    times: list[float] = []
    upcoming = itertools.cycle(to_send)
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        connection_of = {}
        for _ in range(connections):
            connection = Connection(port)
            stack.enter_context(connection.socket)
            connection_of[connection.socket.fileno()] = connection
        for file, connection in connection_of.items():
            poll.register(file, select.EPOLLIN)
            connection.send(next(upcoming))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            ready = poll.poll(PATIENCE_SECONDS)
            if not ready:
                raise LoadFailed(f"no answer within {PATIENCE_SECONDS} s")
            for file, _ in ready:
                connection = connection_of[file]
                if connection.is_answered():
                    times.append(time.perf_counter() - connection.began)
                    connection.send(next(upcoming))
    return times


def load(server: Server, to_send: Sequence[bytes], connections: int, seconds: float = 3.0) -> Load:
    """Load the server from the generator's core, and return what was measured."""
    own_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {generator_core()})
    try:
        began = time.perf_counter()
        generator_began = time.thread_time()
        server_began = server.cpu_seconds()
        times = answer_seconds(server.port, to_send, connections, seconds)
        wall = time.perf_counter() - began
        generator_share = (time.thread_time() - generator_began) / wall
        server_share = (server.cpu_seconds() - server_began) / wall
    finally:
        os.sched_setaffinity(0, own_cores)
    return Load(len(times) / wall, p95(times) * 1000, generator_share, server_share)


def p95(times: Sequence[float]) -> float:
    """Return the value that 95 % do not exceed; infinite without values."""
    if not times:
        return float("inf")
    rank = -(-len(times) * 95 // 100)  # rounded up
    return sorted(times)[max(0, rank - 1)]
