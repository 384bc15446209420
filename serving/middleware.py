"""One ASGI layer around every request: ids, limits, headers, metrics and the access log."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from readmit import allowed_hosts
from readmit.allowed_hosts import AllowedHosts
from readmit.client.answer_types import ProblemCode
from serving import documentation, peer_bundles
from serving.access_log import AccessLog, access
from serving.api_keys import LOCAL, UNKEYED_PATHS, ApiKeys, check_scope
from serving.api_settings import ServingSettings
from serving.body_limit import UPLOAD_PATH, BodyLimit
from serving.draining import Draining
from serving.exchange import CLIENT_CLOSED, Exchange
from serving.instruments import Metrics
from serving.problems import Problem
from serving.rate_limit import RateLimit, network_of
from serving.request_ids import RequestIds

# Peers have a token of their own.
OPEN_PATHS = frozenset((*UNKEYED_PATHS, *documentation.OPEN_PATHS, peer_bundles.PATH))
# To tell 30,000 parameters apart takes half a second.
MAX_QUERY_BYTES = 4_096


class RequestMiddleware:
    """Pure ASGI: it buffers nothing and starts no task."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServingSettings,
        metrics: Metrics,
        draining: Draining,
        rate: RateLimit,
    ) -> None:
        self._app = app
        self._draining = draining
        self._in_flight = metrics.gauge("readmit_requests_in_flight")
        self._bodies = BodyLimit(settings.api_max_body_bytes)
        self._uploads = BodyLimit(settings.api_max_upload_bytes)
        self._hosts = AllowedHosts(allowed_hosts.names(settings.api_allowed_hosts))
        self._keys = ApiKeys(settings.accepted_keys())
        self._rate = rate
        self._log = AccessLog(metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bodies = self._uploads if scope["path"] == UPLOAD_PATH else self._bodies
        exchange = Exchange(
            scope,
            receive,
            send,
            ids=RequestIds.of(scope),
            bodies=bodies,
            draining=self._draining,
        )
        self._in_flight.inc()
        if scope["method"] == "HEAD":
            # Routes answer it as GET. The server keeps the scope that it made, so it leaves the
            # body out.
            scope = {**scope, "method": "GET"}
        try:
            self._admit(scope, bodies)
            await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.refuse(problem)
        except ClientDisconnect:
            exchange.status = CLIENT_CLOSED
        except Exception:
            access.exception("the request could not be answered")
            if exchange.is_answered:
                raise  # half an answer is out: the server closes the connection
            await exchange.refuse(Problem(ProblemCode.INTERNAL_ERROR))
        finally:
            self._in_flight.dec()
            bodies.release(exchange.body_bytes)
            scope["method"] = exchange.scope["method"]
            self._log.record(scope, exchange.status, exchange.seconds())

    def _admit(self, scope: Scope, bodies: BodyLimit) -> None:
        """Check what the head of the request says.

        Raises:
            Problem: 400, 401, 403, 413, 415, 421 or 429.
        """
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            _check_one_host(scope)
        if not self._hosts.permits(headers.get(b"host", b"")):
            raise Problem(ProblemCode.UNKNOWN_HOST)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem(ProblemCode.COMPRESSED_BODY, headers={"Accept-Encoding": "identity"})
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            raise Problem(ProblemCode.BAD_REQUEST)
        bodies.check_length(headers.get(b"content-length", b"0"), scope["path"])
        if scope["path"] in OPEN_PATHS:
            return
        caller = self._keys.caller(headers.get(b"x-api-key", b""))
        if self._rate.per_second:
            address, *_ = scope.get("client") or ("?",)
            rate_key = caller.name
            if caller is LOCAL:
                rate_key = network_of(str(address))
            self._rate.check(rate_key)
            scope["state"]["rate_key"] = rate_key
        check_scope(caller, scope["path"])
        scope["state"]["caller"] = caller


def _check_one_host(scope: Scope) -> None:
    """Refuse two Host headers: the check would read one of them, and an answer name the other.

    Raises:
        Problem: 400 (RFC 9112, 3.2).
    """
    names = [name for name, _ in scope["headers"]]
    if names.count(b"host") > 1:
        raise Problem(ProblemCode.BAD_REQUEST)
