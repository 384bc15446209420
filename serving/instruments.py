"""The API's part of the list in readmit/telemetry/metrics.py, as objects of prometheus_client."""

import os
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from readmit.telemetry.metrics import API, Kind, Metric


class Metrics:
    """The metrics of one process; with PROMETHEUS_MULTIPROC_DIR set, `render` shows the sum of all workers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made = {metric.name: self._make(metric) for metric in API}
        self._labelled: dict[tuple[Any, ...], Any] = {}
        self["readmit_started_timestamp_seconds"].set(time.time())

    def _make(self, metric: Metric) -> Any:  # noqa: ANN401 (Counter, Gauge or Histogram)
        said: dict[str, Any] = {"labelnames": metric.labels, "registry": self.registry}
        if metric.kind is Kind.HISTOGRAM:
            return Histogram(metric.name, metric.meaning, buckets=metric.buckets, **said)
        if metric.kind is Kind.GAUGE:
            return Gauge(
                metric.name, metric.meaning, multiprocess_mode=metric.across or "all", **said
            )
        return Counter(metric.name, metric.meaning, **said)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return self._made[name]

    def labelled(self, name: str, *values: object) -> Any:  # noqa: ANN401 (Counter, Gauge or Histogram)
        """Return the metric with values of its labels; remembered, for the hot path: labels are bounded."""
        found = self._labelled.get((name, *values))
        if found is None:
            found = self._labelled[name, *values] = self._made[name].labels(*values)
        return found

    def render(self) -> bytes:
        """Return the exposition text."""
        if not (folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR")):
            return generate_latest(self.registry)
        _forget_dead_workers(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _forget_dead_workers(folder: Path) -> None:
    """A worker that was killed leaves its gauges, such as requests in flight, behind; its counters stay in the sums."""
    for file in folder.glob("gauge_live*_*.db"):
        process = file.stem.rpartition("_")[2]
        if not Path(f"/proc/{process}").exists():
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
