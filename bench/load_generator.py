"""The load generator: raw sockets and requests made beforehand; each connection asks again as soon as it is answered.

Python's HTTP clients need more of a core for a request than the API does. This one answers for its own headroom: `Load`
says which share of its core it used.
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
    """The server gave another answer than 200, or none; the message is what it said."""


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
        self._got, self.began = b"", 0.0

    def ask(self, request: bytes) -> None:
        """Send a request; what came before is forgotten."""
        self._got, self.began = b"", time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what is there; tell whether the answer is whole.

        Raises:
            LoadFailed: it is not a 200.
        """
        more = self.socket.recv(1 << 18)
        self._got += more
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not more or (found and not head.startswith(b"HTTP/1.1 200")):
            raise LoadFailed(
                self._got[:1000].decode(errors="replace") or "the server closed the connection"
            )
        return bool(found) and len(body) >= content_length(head)


def content_length(head: bytes) -> int:
    """Return the length that the head of an answer announces; without one the end could not be told."""
    found = LENGTH.search(head)
    if found is None:
        raise LoadFailed(f"an answer without Content-Length: {head[:500].decode(errors='replace')}")
    return int(found[1])


def requests(path: str, bodies: Sequence[object]) -> list[bytes]:
    """Return whole requests with bodies as JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in map(orjson.dumps, bodies)]


def answers(port: int, wanted: Sequence[bytes], connections: int, seconds: float) -> list[float]:
    """Send the requests in turn for so long; returns the seconds that each answer took."""
    took: list[float] = []
    following = itertools.cycle(wanted)
    with ExitStack() as stack:
        made = [Connection(port) for _ in range(connections)]
        poll = stack.enter_context(select.epoll())
        by_file = {each.socket.fileno(): each for each in made}
        for file, each in by_file.items():
            stack.enter_context(each.socket)
            poll.register(file, select.EPOLLIN)
            each.ask(next(following))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            ready = poll.poll(PATIENCE_SECONDS)
            if not ready:
                raise LoadFailed(f"no answer within {PATIENCE_SECONDS} s")
            for file, _ in ready:
                each = by_file[file]
                if each.is_answered():
                    took.append(time.perf_counter() - each.began)
                    each.ask(next(following))
    return took


def load(server: Server, wanted: Sequence[bytes], connections: int, seconds: float = 3.0) -> Load:
    """Load the server from the generator's core, and return what was measured."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {generator_core()})
    try:
        began, used, server_used = time.perf_counter(), time.thread_time(), server.cpu_seconds()
        took = answers(server.port, wanted, connections, seconds)
        wall = time.perf_counter() - began
        shares = (time.thread_time() - used) / wall, (server.cpu_seconds() - server_used) / wall
    finally:
        os.sched_setaffinity(0, ours)
    return Load(len(took) / wall, p95(took) * 1000, *shares)


def p95(took: Sequence[float]) -> float:
    """Return the value that 95 % do not exceed; infinite without values."""
    return sorted(took)[max(0, -(-len(took) * 95 // 100) - 1)] if took else float("inf")
