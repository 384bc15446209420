"""What stands before the app: uvicorn's HTTP, with a bound for the head of a request; what is no HTTP gets a problem.

`uvicorn --http serving.protocol:Protocol`. httptools collects a header at a cost that grows with the square of its
length: 300 MB in one header kept a worker from all others for minutes.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from readmit.telemetry.json_logs import new_id
from serving.middleware import SECURE
from serving.problems import MEDIA_TYPE, document

MOST_HEAD_BYTES = 65_536  # what httptools allows an address alone


class Protocol(HttpToolsProtocol):
    """One connection."""

    _unread = 0  # bytes that came after the last complete head or piece of a body

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the head of a request is larger than {MOST_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body came."""
        self._unread = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what never becomes a request, and close the connection."""
        body = document(400, msg)
        headers = [
            *self.server_state.default_headers,
            *SECURE,
            (b"x-request-id", new_id().encode()),
        ]
        headers += [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        lines = [b"%s: %s\r\n" % each for each in (*headers, (b"connection", b"close"))]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", body]))
        self.transport.close()
