"""Limits of a server's connections, which uvicorn lacks.

They say how slow a peer may be, and how many connections are held.

nginx has them as `client_header_timeout`, `client_body_timeout`, `send_timeout` and
`worker_connections`.
"""

import asyncio
import math
import resource

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 10.0  # from the first byte of a request, or from the connection's begin
SMALL_BODY_SECONDS = 30.0  # from the first byte of a request
LARGE_BODY_SECONDS = 60.0  # the largest body needs 270 kB/s
CHECK_SECONDS = 5.0
# A body is large from here on. As much of it, or of an answer, must arrive between two checks: who
# is slower keeps its memory from others.
MIN_BYTES = 65_536
# httptools collects a header at a cost that grows with the square of its length: 100 MB in one
# header blocked a process for 12 s. It allows this much for an address alone.
MAX_HEAD_BYTES = 65_536
# Requests that wait behind the one that is answered. Each costs time and memory as soon as it is
# read: 100 connections with 8,000 each blocked a process for a minute. No usual client sends any.
MAX_PIPELINED = 16
# `make capacity` has reached 1,763 users on one machine, a connection each.
MAX_CONNECTIONS = 4_096
RESERVED_FILES = 256  # models, Postgres, the object store
NOT_WAITING = math.inf


class BoundedConnection(HttpToolsProtocol):
    """A connection whose peer must send its request, and read the answer, in time."""

    _overdue_at = NOT_WAITING  # when the part of a request that is awaited must have arrived
    _waits_since = 0.0
    _is_body = False  # the awaited part
    _unread_bytes = 0  # received since the last complete head or part of a body
    _has_sent = False
    _n_received = 0  # since the last check
    _n_body = 0  # bytes of the body so far
    _n_unsent = 0  # at the last check
    _checked_cycle: RequestResponseCycle | None = None  # at the last check
    _has_drained = False  # the peer read a part of the answer since the last check
    _check_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head; beyond the limit, close the connection that waits longest."""
        super().connection_made(transport)
        self._await_head()
        self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)
        if len(self.connections) > max_connections():
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the checks."""
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process what was received; even empty lines after a request begin another."""
        if self._overdue_at == NOT_WAITING:
            self._await_head()
        self._has_sent = True
        self._n_received += len(data)
        self._n_body += len(data)
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.refuse_head()

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a request that came with the end of the one before."""
        if self._overdue_at == NOT_WAITING:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to wait for the body.

        Raises:
            ConnectionAbortedError: too many requests wait; uvicorn then stops to read them.
        """
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise ConnectionAbortedError("too many requests wait for their answer")
        self._unread_bytes = 0
        self._is_body = True
        self._overdue_at = self._waits_since + SMALL_BODY_SECONDS
        self._n_received = MIN_BYTES  # the time until the next check is shorter than a period
        self._n_body = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew: a part of the body is complete."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End waiting: the next thing is our answer."""
        self._overdue_at = NOT_WAITING
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Go on with the answer: the peer has read most of what was sent."""
        self._has_drained = True
        super().resume_writing()

    def send_408(self) -> None:
        """Say that the request came too slowly, and close the connection."""
        self._refuse_with(b"408 Request Timeout")

    def refuse_head(self) -> None:
        """Say that the head of the request is too large, and close the connection."""
        self._refuse_with(b"431 Request Header Fields Too Large")

    def _refuse_with(self, status: bytes) -> None:
        fields = b"connection: close\r\ncontent-length: 0\r\n\r\n"
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + fields)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, unless the connection is closed already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    @property
    def is_answering(self) -> bool:
        """Whether a whole request is here, and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.response_complete and not self._is_body_due

    @property
    def waiting_order(self) -> tuple[bool, float]:
        """Return what sorts connections by how little they lose when they are closed."""
        return self.cycle is not None, self._waits_since

    @property
    def _is_body_due(self) -> bool:
        return self._is_body and self._overdue_at != NOT_WAITING

    def _await_head(self) -> None:
        self._waits_since = self.loop.time()
        self._overdue_at = self._waits_since + HEAD_SECONDS
        self._is_body = False

    def _check(self) -> None:
        """Close the connection if its peer is too slow."""
        self._check_timer = self.loop.call_later(CHECK_SECONDS, self._check)
        if self._is_read_too_slowly():
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self.flow.read_paused or self.is_answering:
            self._overdue_at += CHECK_SECONDS  # it is the server that lets the peer wait
        elif self._is_overdue():
            is_answered = self._is_body and (self.cycle.response_started or bool(self.pipeline))
            if self._has_sent and not is_answered:
                self.send_408()
            else:
                self.transport.close()
        self._n_received = 0

    def _is_read_too_slowly(self) -> bool:
        n_unsent = self.transport.get_write_buffer_size()
        n_read = self._n_unsent - n_unsent
        is_same_answer = self.cycle is self._checked_cycle and not self._has_drained
        is_slow = is_same_answer and n_read < min(MIN_BYTES, self._n_unsent)
        self._n_unsent = n_unsent
        self._checked_cycle = self.cycle
        self._has_drained = False
        return is_slow

    def _is_overdue(self) -> bool:
        late_by = self.loop.time() - self._overdue_at
        if self._is_body_due and self._n_body > MIN_BYTES:
            is_too_slow = self._n_received < MIN_BYTES
            return is_too_slow or late_by > LARGE_BODY_SECONDS - SMALL_BODY_SECONDS
        return late_by > 0

    def _make_room(self) -> None:
        """Close a tenth of all connections, those first that lose least, or else this one."""
        waiting: list[BoundedConnection] = []
        for connection in self.connections:
            if not isinstance(connection, BoundedConnection) or connection is self:
                continue
            if not connection.is_answering:
                waiting.append(connection)
        waiting.sort(key=lambda connection: connection.waiting_order)
        for connection in waiting[: max_connections() // 10] or [self]:
            connection.transport.abort()
            # Its own clean-up comes later; until then it would be counted.
            self.connections.discard(connection)


def max_connections() -> int:
    """Return how many connections a process may hold: other files need a share of the limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(RESERVED_FILES, soft - RESERVED_FILES))
