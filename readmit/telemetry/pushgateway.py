"""GaugeValues of jobs, pushed to the Pushgateway: a task is gone before Prometheus could ask it.

    rows = {"arrived": 15_000, "features": 14_630}
    pushgateway.report(Job.INGEST, lambda: {"readmit_batch_rows": rows}, settings)

Nothing happens while PUSHGATEWAY_URL is not set. Measuring never fails what is measured: whatever goes wrong is one
warning in the log.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import pushadd_to_gateway

from readmit.settings import Settings
from readmit.telemetry.metrics import METRICS_BY_JOB, Job

log = logging.getLogger("readmit")

SECONDS = 2.0  # a gateway that does not answer must not hold a task up
# By name: one value, or one per label value (a tuple of them when there are several). None is not known: left out.
Values = Mapping[Any, float | None]
GaugeValues = Mapping[str, float | Values | None]


def report(
    job: Job,
    figures: Callable[[], GaugeValues],
    settings: Settings,
    group: Mapping[str, str] | None = None,
) -> None:
    """Push figures; those that are not named keep their last value.

    Args:
        job: the job that they belong to.
        figures: returns them; called only when there is a Pushgateway.
        settings: where the Pushgateway is.
        group: labels that all figures share. Figures of the same name replace each other within a group only.
    """
    try:
        if url := settings.pushgateway_url:
            found = registry(job, figures(), group or {})
            pushadd_to_gateway(url, job.value, found, dict(group or {}), SECONDS, handler=_send)
    except httpx.TransportError as error:
        log.warning("figures of %s were not pushed to %s: %s", job.value, url, error)
    except Exception:
        log.warning("figures of %s were not pushed", job.value, exc_info=True)


def registry(job: Job, figures: GaugeValues, group: Mapping[str, str]) -> CollectorRegistry:
    """Return figures as Prometheus' client has them.

    Raises:
        KeyError: a name is not in the list of this job.
        ValueError: other labels than those of the list.
    """
    listed = {metric.name: metric for metric in METRICS_BY_JOB[job]}
    made = CollectorRegistry()
    for name, values in figures.items():
        metric = listed[name]
        if {*group} - {*metric.labels}:
            raise ValueError(f"{name}: the list has the labels {metric.labels}, not {(*group,)}")
        own = tuple(label for label in metric.labels if label not in group)
        known = {at: value for at, value in _by_label(values).items() if value is not None}
        if known:  # a gauge without a value would be shown as 0
            gauge = Gauge(name, metric.meaning, own, registry=made)
            for at, value in known.items():
                (gauge.labels(*at) if at or own else gauge).set(value)
    return made


def _by_label(values: float | Values | None) -> dict[tuple[str, ...], float | None]:
    if not isinstance(values, Mapping):
        return {(): values}
    return {(at,) if isinstance(at, str) else at: value for at, value in values.items()}


def _send(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    def go() -> None:
        # Without the proxies of the environment: the gateway is beside us.
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            client.request(method, url, headers=headers, content=data).raise_for_status()

    return go


def one_of(chosen: str, names: tuple[str, ...]) -> Values:
    """Return 1 for the chosen name and 0 for the others: a state as figures."""
    return {name: float(name == chosen) for name in names}


def task_ended(context: Any, settings: Settings, *, succeeded: bool) -> None:  # noqa: ANN401 (Airflow's context)
    """Report the duration and the outcome of a try of an Airflow task; the duration of a killed one is not known."""
    task, now = context["ti"], time.time()
    began = getattr(task, "start_date", None)
    group = {"dag": str(task.dag_id), "task": str(task.task_id)}
    report(
        Job.TASKS,
        lambda: {
            "readmit_task_seconds": now - began.timestamp() if began else None,
            "readmit_task_succeeded": float(succeeded),
            "readmit_task_finished_timestamp_seconds": now,
        },
        settings,
        group,
    )
