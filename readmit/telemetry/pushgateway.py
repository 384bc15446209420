"""Gauges of jobs, pushed to the Pushgateway: a task ends before Prometheus could scrape it.

    rows = {"arrived": 15_000, "features": 14_630}
    pushgateway.report(Job.INGEST, lambda: {"readmit_batch_rows": rows}, settings)

Nothing happens while READMIT_PUSHGATEWAY_URL is not set. A failure to report never fails the job:
it is one warning in the log.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Protocol, TypedDict

import httpx
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import pushadd_to_gateway

from readmit.settings import PushgatewaySettings
from readmit.telemetry.metrics import METRICS_BY_JOB, Job

log = logging.getLogger("readmit")

TIMEOUT_SECONDS = 2.0  # a gateway that does not answer must not delay a task
# The values of one gauge by its label, or by a tuple of its labels. None is unknown and left out.
ValuesByLabel = Mapping[str, float | None] | Mapping[tuple[str, ...], float | None]
# By name: one value, or one for each label.
GaugeValues = Mapping[str, float | ValuesByLabel | None]


class TaskInstance(Protocol):
    """The part of Airflow's task instance that is reported."""

    dag_id: str
    task_id: str


class TaskContext(TypedDict):
    """The part of Airflow's context that is reported."""

    ti: TaskInstance


def report(
    job: Job,
    gauges: Callable[[], GaugeValues],
    settings: PushgatewaySettings,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Push gauges. Gauges of the job that are not among them keep their last value.

    Args:
        job: the job that the gauges belong to.
        gauges: returns them. It is called only if there is a Pushgateway.
        settings: holds the address of the Pushgateway.
        labels: labels that all these gauges share. They are the group at the Pushgateway: gauges of
            one name replace each other within a group only.
    """
    shared = dict(labels or {})
    try:
        url = settings.pushgateway_url
        if url:
            content = registry(job, gauges(), shared)
            handler = partial(_handler, login=settings.pushgateway_login())
            pushadd_to_gateway(url, job.value, content, shared, TIMEOUT_SECONDS, handler=handler)
    except httpx.TransportError as error:
        log.warning("gauges of %s were not pushed to %s: %s", job.value, url, error)
    except Exception:
        log.warning("gauges of %s were not pushed", job.value, exc_info=True)


def registry(job: Job, gauges: GaugeValues, shared: Mapping[str, str]) -> CollectorRegistry:
    """Return gauges in the form of Prometheus' client.

    Raises:
        KeyError: a name is not in the list of this job.
        ValueError: the labels are not those of the list.
    """
    metrics = {metric.name: metric for metric in METRICS_BY_JOB[job]}
    content = CollectorRegistry()
    for name, values in gauges.items():
        metric = metrics[name]
        if not set(shared) <= set(metric.labels):
            raise ValueError(f"{name}: the list has the labels {metric.labels}, not {(*shared,)}")
        own_labels = tuple(label for label in metric.labels if label not in shared)
        by_label = _known_by_label(values)
        if not by_label:
            continue  # a gauge without a value would be shown as 0
        gauge = Gauge(name, metric.meaning, own_labels, registry=content)
        for label, value in by_label.items():
            if label or own_labels:
                gauge.labels(*label).set(value)
            else:
                gauge.set(value)
    return content


def _known_by_label(values: float | ValuesByLabel | None) -> dict[tuple[str, ...], float]:
    """Return the values that are known, by the tuple of their labels."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        return {(): values}
    known_values = {}
    for label, value in values.items():
        if value is not None:
            key = (label,) if isinstance(label, str) else label
            known_values[key] = value
    return known_values


def _handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
    *,
    login: tuple[str, str] | None,
) -> Callable[[], None]:
    """Return the function that sends a request of Prometheus' client."""

    def send() -> None:
        # The Pushgateway is a neighbour: the proxies of the environment do not lead to it.
        with httpx.Client(auth=login, trust_env=False, timeout=timeout) as client:
            client.request(method, url, headers=headers, content=data).raise_for_status()

    return send


def one_of(chosen: str, names: tuple[str, ...]) -> dict[str, float | None]:
    """Return 1 for the chosen name and 0 for the others: a state as gauge values."""
    return {name: float(name == chosen) for name in names}


def task_ended(context: TaskContext, settings: PushgatewaySettings, *, succeeded: bool) -> None:
    """Report the duration and the outcome of a try of an Airflow task.

    The duration of a task that was killed is unknown.
    """
    task = context["ti"]
    now = time.time()
    start: datetime | None = getattr(task, "start_date", None)
    gauges = {
        "readmit_task_seconds": now - start.timestamp() if start else None,
        "readmit_task_succeeded": float(succeeded),
        "readmit_task_finished_timestamp_seconds": now,
    }
    labels = {"dag": str(task.dag_id), "task": str(task.task_id)}
    report(Job.TASKS, lambda: gauges, settings, labels)
