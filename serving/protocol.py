"""uvicorn's HTTP with limits on connections and on the head of a request.

A request that is not HTTP, or comes too slowly, gets a problem document.

`uvicorn --http serving.protocol:Protocol`.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from readmit.client.answer_types import ProblemCode
from readmit.connection_limits import MAX_HEAD_BYTES, BoundedConnection
from readmit.telemetry.json_logs import new_id
from serving.exchange import SECURITY_HEADERS
from serving.problems import MEDIA_TYPE, Problem

ARRIVAL_SECONDS = 0.5  # from the caller's first byte to ours


class Protocol(BoundedConnection):
    """One connection."""

    def shutdown(self) -> None:
        """Close the connection; a request that is on its way may still arrive and is answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(ARRIVAL_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def send_400_response(self, _: str) -> None:
        """Refuse what is not HTTP; uvicorn's own text is not sent."""
        if not self.transport.is_closing():
            self._refuse(Problem(ProblemCode.INVALID_HTTP))

    def refuse_head(self) -> None:
        """Refuse a head that is too large."""
        self._refuse(Problem(ProblemCode.HEAD_TOO_LARGE, max_bytes=MAX_HEAD_BYTES))

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
