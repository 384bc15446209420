"""The ids of a request: its own, and the correlation id that its caller may have sent."""

import uuid
from typing import NamedTuple

from starlette.types import Scope

from readmit.telemetry.json_logs import CORRELATION_HEADER, REQUEST_IDS, valid_id

CORRELATION = CORRELATION_HEADER.lower().encode()


class RequestIds(NamedTuple):
    """Answers carry both in their headers, log lines as fields."""

    request_id: str
    correlation_id: str

    @classmethod
    def of(cls, scope: Scope) -> "RequestIds":
        """Return the ids of a request, and make them those of all its log lines.

        A caller's id that is long or has other characters is replaced by the request id.
        """
        request_id = str(uuid.uuid4())
        correlation_id = request_id
        for name, value in scope["headers"]:
            if name == CORRELATION:
                correlation_id = valid_id(value.decode("latin-1")) or request_id
                break
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_IDS.set({"request_id": request_id, "correlation_id": correlation_id})
        return cls(request_id, correlation_id)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of the answer."""
        return [
            (b"x-request-id", self.request_id.encode()),
            (CORRELATION, self.correlation_id.encode()),
        ]
