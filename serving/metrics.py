"""Every metric of the API, listed once. Dashboards and alerts use these names only."""

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
# name without the suffix that Prometheus adds: (type, labels, meaning)
METRICS: dict[str, tuple[type[Any], tuple[str, ...], str]] = {
    "readmit_requests": (Counter, ("route", "method", "status"), "answered requests"),
    "readmit_request_seconds": (Histogram, ("route",), "time from request to answer"),
    "readmit_requests_in_flight": (Gauge, (), "requests that are being answered now"),
    "readmit_predictions": (Counter, ("version", "risk", "history"), "predictions by version, risk and history"),
    "readmit_model": (Gauge, ("version", "run_id"), "1 for the version that is served, 0 for earlier ones"),
    "readmit_model_swaps": (Counter, (), "times another version was taken"),
    "readmit_model_refusals": (Counter, (), "times a version was refused; the last good one kept serving"),
    "readmit_registry_up": (Gauge, (), "1 when the last look at the registry worked"),
    "readmit_history_lookups": (Counter, ("outcome",), "look-ups of patient history: found, none, failed"),
    "readmit_log_written": (Counter, (), "predictions written to Postgres"),
    "readmit_log_lost": (Counter, (), "predictions that could not be logged"),
    "readmit_log_waiting": (Gauge, (), "predictions that wait for Postgres"),
}
MODES = {
    "readmit_registry_up": "livemin",
    "readmit_log_waiting": "livesum",
    "readmit_model": "livemax",
    "readmit_requests_in_flight": "livesum",
}


class Metrics:
    """The metrics of one process; with PROMETHEUS_MULTIPROC_DIR set, `render` shows the sum of all workers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made = {name: self._make(name, *said) for name, said in METRICS.items()}

    def _make(self, name: str, kind: type[Any], labels: tuple[str, ...], meaning: str) -> Any:  # noqa: ANN401
        extra: dict[str, Any] = {"multiprocess_mode": MODES[name]} if kind is Gauge else {}
        extra |= {"buckets": BUCKETS} if kind is Histogram else {}
        return kind(name, meaning, labels, registry=self.registry, **extra)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (Counter, Gauge or Histogram)
        return self._made[name]

    def render(self) -> bytes:
        """Return the exposition text."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
