"""One ASGI layer around every request: id, key, rate, body limit, secure headers, metrics, log line."""

import hashlib
import hmac
import logging
import time
import uuid
from collections import OrderedDict

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readmit.telemetry.json_logs import CORRELATION_HEADER, REQUEST_IDS, valid_id
from serving.api_settings import ServingSettings
from serving.draining import Draining
from serving.instruments import Metrics
from serving.problems import MEDIA_TYPE, Problem, document

access = logging.getLogger("serving.access")
OPEN = ("/livez", "/readyz", "/metrics")  # for probes and Prometheus, which carry no key
MOST_CALLERS = 10_000
MOST_HELD, SMALL = (
    4,
    65_536,
)  # largest bodies in memory at the same time; up to so many bytes always pass
GONE = 499  # as nginx counts callers that hang up before their request is whole: nobody to answer, no fault of ours
CLOSED = (
    "the handler is closed"  # what uvloop says when the connection went after we began to answer
)
CORRELATION = CORRELATION_HEADER.lower().encode()
FAULT = "the request could not be answered; the log has the reason under its request id"
SECURE: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class RequestMiddleware:
    """Pure ASGI: nothing is buffered, no task is made."""

    def __init__(
        self, app: ASGIApp, settings: ServingSettings, metrics: Metrics, draining: Draining
    ) -> None:
        self._app, self._settings, self._metrics, self._draining = app, settings, metrics, draining
        self._in_flight = metrics["readmit_requests_in_flight"]
        self._keys = settings.key_hashes()
        self._held = 0  # bytes of the bodies of all requests under way
        self._callers: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id = time.perf_counter(), str(uuid.uuid4())
        correlation_id = _correlation(scope) or request_id
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_IDS.set({"request_id": request_id, "correlation_id": correlation_id})
        ids = [(b"x-request-id", request_id.encode()), (CORRELATION, correlation_id.encode())]
        status, is_begun, held = [500], [False], [0]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0], is_begun[0] = message["status"], True
                message["headers"] = [*message["headers"], *SECURE, *ids, *self._draining.headers]
            try:
                await send(message)
            except RuntimeError as error:
                if CLOSED not in str(error):
                    raise
                status[0] = GONE

        self._in_flight.inc()
        try:
            self._admit(scope)
            await self._app(scope, self._limited(receive, held), answer)
        except Problem as problem:
            await _refuse(problem, answer)
        except ClientDisconnect:
            status[0] = GONE
        except Exception:
            access.exception("the request could not be answered")
            if is_begun[0]:
                raise  # half an answer is out: the server closes the connection
            await _refuse(Problem(500, FAULT), answer)
        finally:
            self._in_flight.dec()
            self._held -= held[0]
            self._note(scope, status[0], time.perf_counter() - began)

    def _admit(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem(
                415,
                "send the body as it is, not compressed",
                headers={"Accept-Encoding": "identity"},
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._settings.api_max_body_bytes:
            raise self._too_large()
        if scope["path"] in OPEN:
            return
        key = headers.get(b"x-api-key", b"")
        if self._keys and not _known(key, self._keys):
            raise Problem(
                401,
                "send a valid key in the header X-API-Key",
                headers={"WWW-Authenticate": "ApiKey"},
            )
        if self._settings.api_rate_per_second:
            self._pace(
                hashlib.sha256(key).hexdigest()
                if self._keys
                else str((scope.get("client") or ("?",))[0])
            )

    def _pace(self, caller: str) -> None:
        """A token bucket per caller that holds one second's worth, and at least one request."""
        rate, now = self._settings.api_rate_per_second, time.monotonic()
        full = max(rate, 1.0)
        tokens, seen = self._callers.pop(caller, (full, now))
        tokens = min(full, tokens + (now - seen) * rate)
        self._callers[caller] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._callers) > MOST_CALLERS:
            self._callers.popitem(last=False)
        if tokens < 1:
            wait = str(max(1, round((1 - tokens) / rate)))
            raise Problem(
                429,
                f"at most {rate:g} requests per second and caller",
                headers={"Retry-After": wait},
            )

    def _limited(self, receive: Receive, held: list[int]) -> Receive:
        most = self._settings.api_max_body_bytes

        async def counted() -> Message:
            message = await receive()
            n = len(message.get("body", b""))
            held[0] += n
            self._held += n
            if held[0] > most:
                raise self._too_large()
            if self._held > MOST_HELD * most and held[0] > SMALL:
                raise Problem(
                    503,
                    f"bodies of other requests hold {self._held} bytes",
                    headers={"Retry-After": "1"},
                )
            return message

        return counted

    def _too_large(self) -> Problem:
        limit = self._settings.api_max_body_bytes
        return Problem(
            413, f"the body is larger than {limit} bytes: the limit bounds the memory of a worker"
        )

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.labelled("readmit_requests_total", route, _method(scope), status).inc()
        self._metrics.labelled("readmit_request_seconds", route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            said = {
                "route": route,
                "method": _method(scope),
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            access.info("answered", extra={"fields": said})


def _correlation(scope: Scope) -> str | None:
    """Return the id that the caller sent, if it may stand in a log."""
    sent = next((value for name, value in scope["headers"] if name == CORRELATION), b"")
    return valid_id(sent.decode("latin-1")) if sent else None


def _known(key: bytes, hashes: tuple[bytes, ...]) -> bool:
    """Compare in constant time, with all hashes: no early end tells which one was close."""
    sent = hashlib.sha256(key).hexdigest().encode()
    matches = [hmac.compare_digest(sent, each) for each in hashes]
    return any(matches)


async def _refuse(problem: Problem, send: Send) -> None:
    body = document(problem.status, problem.detail, problem.errors)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _method(scope: Scope) -> str:
    """Callers may send any word as a method; labels must not grow with them."""
    return scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
