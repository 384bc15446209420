"""uvicorn's HTTP with limits on connections and on the head of a request.

A request that is not HTTP, or comes too slowly, gets a problem document.

`uvicorn --http serving.protocol:Protocol`. httptools collects a header at a cost that grows with
the square of its length: 300 MB in one header blocked a worker for minutes.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from readmit.client.answer_types import ProblemCode
from readmit.connection_limits import BoundedConnection
from readmit.telemetry.json_logs import new_id
from serving.exchange import SECURITY_HEADERS
from serving.problems import MEDIA_TYPE, Problem

ARRIVAL_SECONDS = 0.5  # from the caller's first byte to ours
MAX_HEAD_BYTES = 65_536  # httptools allows as much for an address alone


class Protocol(BoundedConnection):
    """One connection."""

    _unread_bytes = 0  # received since the last complete head or part of a body

    def data_received(self, data: bytes) -> None:
        """Process what was received."""
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(Problem(ProblemCode.HEAD_TOO_LARGE, max_bytes=MAX_HEAD_BYTES))

    def on_headers_complete(self) -> None:
        """Begin to count anew: the head is complete."""
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew: a part of the body is complete."""
        self._unread_bytes = 0
        super().on_body(body)

    def shutdown(self) -> None:
        """Close the connection; a request that is on its way may still arrive and is answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(ARRIVAL_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def send_400_response(self, _: str) -> None:
        """Refuse what is not HTTP; uvicorn's own text is not sent."""
        self._refuse(Problem(ProblemCode.INVALID_HTTP))

    def send_408(self) -> None:
        """Refuse what comes too slowly."""
        self._refuse(Problem(ProblemCode.SLOW_REQUEST))

    def _refuse(self, problem: Problem) -> None:
        """Answer with the problem and close the connection."""
        body = problem.body()
        headers = [
            *self.server_state.default_headers,
            *SECURITY_HEADERS,
            (b"x-request-id", new_id().encode()),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        self.transport.close()
