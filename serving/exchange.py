"""One request on its way through the middleware."""

import time

from starlette.types import Message, Receive, Scope, Send

from serving.body_limit import BodyLimit
from serving.draining import Draining
from serving.problems import MEDIA_TYPE, Problem
from serving.request_ids import RequestIds

CLIENT_CLOSED = 499  # nginx's status for a caller that hangs up: nobody to answer, no fault of ours
# uvloop's message when the connection is gone after the answer began.
CONNECTION_CLOSED = "the handler is closed"
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Exchange:
    """The state of one request and its answer; `receive` and `send` are what the app is given."""

    __slots__ = (
        "_bodies",
        "_draining",
        "_headers",
        "_max_bytes",
        "_receive",
        "_send",
        "began",
        "body_bytes",
        "is_answered",
        "scope",
        "status",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        ids: RequestIds,
        bodies: BodyLimit,
        draining: Draining,
    ) -> None:
        self.scope = scope
        self.began = time.perf_counter()
        self.status = 500
        self.is_answered = False
        self.body_bytes = 0
        self._receive = receive
        self._send = send
        self._bodies = bodies
        self._max_bytes = bodies.max_bytes(scope["path"])
        self._draining = draining
        self._headers = [*SECURITY_HEADERS, *ids.headers()]

    async def receive(self) -> Message:
        """Return the next part of the request.

        Raises:
            Problem: the body, or all bodies together, are larger than allowed.
        """
        message = await self._receive()
        n_bytes = len(message.get("body", b""))
        self.body_bytes += n_bytes
        self._bodies.add(n_bytes, of_request=self.body_bytes, max_bytes=self._max_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with our headers; a caller that hung up is not an error."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.is_answered = True
            message["headers"] = [*message["headers"], *self._headers, *self._draining.headers]
        try:
            await self._send(message)
        except RuntimeError as error:
            if CONNECTION_CLOSED not in str(error):
                raise
            self.status = CLIENT_CLOSED

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem document."""
        body = problem.body()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        for name, value in problem.headers.items():
            headers.append((name.lower().encode(), value.encode()))
        start = {"type": "http.response.start", "status": problem.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})

    def seconds(self) -> float:
        """Return how long the request has taken."""
        return time.perf_counter() - self.began
