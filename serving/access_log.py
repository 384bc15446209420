"""Metrics and a log line for each request."""

import logging

from starlette.types import Scope

from serving.instruments import Metrics

access = logging.getLogger("serving.access")
METHODS = ("GET", "POST", "HEAD", "OPTIONS")


class AccessLog:
    """Counts requests by route, method and status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answered request and log it.

        Paths without a route and unusual methods are "other": labels must not grow with them.
        """
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.counter("readmit_requests_total", route, method, status).inc()
        self._metrics.histogram("readmit_request_seconds", route).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            fields = {
                "route": route,
                "method": method,
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            access.info("answered", extra={"fields": fields})
