"""The API's part of the list in readmit/telemetry/metrics.py, as objects of prometheus_client."""

import os
import time
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from readmit.telemetry.metrics import API, Kind, Metric

Instrument = Counter | Gauge | Histogram


class Metrics:
    """The metrics of one process; with PROMETHEUS_MULTIPROC_DIR set, `render` sums all workers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._instruments: dict[str, Instrument] = {}
        for metric in API:
            self._instruments[metric.name] = self._instrument(metric)
        self._labelled: dict[tuple[str, tuple[object, ...]], Instrument] = {}
        self._cpu_seconds = 0.0  # recorded so far
        self.gauge("readmit_started_timestamp_seconds").set(time.time())

    def counter(self, name: str, *labels: object) -> Counter:
        """Return a counter, with the values of its labels if it has any."""
        counter: Counter = self._find(name, labels)
        return counter

    def gauge(self, name: str, *labels: object) -> Gauge:
        """Return a gauge, with the values of its labels if it has any."""
        gauge: Gauge = self._find(name, labels)
        return gauge

    def histogram(self, name: str, *labels: object) -> Histogram:
        """Return a histogram, with the values of its labels if it has any."""
        histogram: Histogram = self._find(name, labels)
        return histogram

    def record_process(self) -> None:
        """Record memory and CPU time of this worker.

        The standard `process_` metrics have no sum over workers.
        """
        process = CollectorRegistry()
        ProcessCollector(registry=process)
        memory_bytes = process.get_sample_value("process_resident_memory_bytes")
        if memory_bytes is not None:  # there is no /proc on macOS
            self.gauge("readmit_worker_memory_bytes").set(memory_bytes)
        cpu_seconds = time.process_time()
        self.counter("readmit_worker_cpu_seconds_total").inc(cpu_seconds - self._cpu_seconds)
        self._cpu_seconds = cpu_seconds

    def render(self) -> bytes:
        """Return the exposition text."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return generate_latest(self.registry)
        # Gauges of killed workers, such as requests in flight, go; counters stay in the sums.
        for file in Path(folder).glob("gauge_live*_*.db"):
            process = file.stem.rpartition("_")[2]
            if not Path(f"/proc/{process}").exists():
                mark_process_dead(process, folder)  # type: ignore[no-untyped-call]
        all_workers = CollectorRegistry()
        MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(all_workers)

    def _instrument(self, metric: Metric) -> Instrument:
        if metric.kind is Kind.HISTOGRAM:
            return Histogram(
                metric.name,
                metric.meaning,
                metric.labels,
                buckets=metric.buckets,
                registry=self.registry,
            )
        if metric.kind is Kind.GAUGE:
            return Gauge(
                metric.name,
                metric.meaning,
                metric.labels,
                multiprocess_mode=metric.across or "all",
                registry=self.registry,
            )
        return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _find(self, name: str, labels: tuple[object, ...]) -> Any:  # noqa: ANN401 (an Instrument)
        """Return an instrument; those with labels are kept for the hot path: labels are bounded."""
        if not labels:
            return self._instruments[name]
        key = (name, labels)
        instrument = self._labelled.get(key)
        if instrument is None:
            instrument = self._instruments[name].labels(*labels)
            self._labelled[key] = instrument
        return instrument
