"""The task that announces to training that everything which waited is published."""

from typing import Any

from airflow.sdk import TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.types import OutletEventAccessorsProtocol, RuntimeTaskInstanceProtocol

from assets import TRAINING_READY
from pod_kinds import pod_of
from readmit.settings import PipelineSettings
from shared import log


def news_for_training(
    announcements: Any,  # noqa: ANN401 (Airflow's accessor)
    settings: PipelineSettings,
    *,
    has_new_contract: bool = False,
) -> int:
    """Return how many batches are published.

    Each announcement carries that number, so the last one is the memory.

    Raises:
        AirflowSkipException: builds wait, or nothing was published since the last announcement.
    """
    from readmit.batches import builds, claims

    n_waiting = claims.count_waiting(settings)
    if n_waiting:
        raise AirflowSkipException(f"{n_waiting} builds are still waiting")
    n_published = builds.count_published(settings)
    n_announced = 0
    for event in announcements.ascending(False).limit(1):
        n_announced = event.extra.get("published", 0)
    if n_published <= n_announced and not has_new_contract:
        raise AirflowSkipException("everything that is published was announced before")
    return n_published


@task(
    inlets=[TRAINING_READY],
    outlets=[TRAINING_READY],
    trigger_rule=TriggerRule.ALL_DONE,
    executor_config=pod_of("batch"),
)
def announce_training(
    inlet_events: Any = None,  # noqa: ANN401 (Airflow names no type for it)
    outlet_events: OutletEventAccessorsProtocol | None = None,
    ti: RuntimeTaskInstanceProtocol | None = None,
) -> None:
    """Announce to training that nothing waits, and that more is published than last time or that
    the mart has another contract.
    """
    n_published = news_for_training(
        inlet_events[TRAINING_READY],
        PipelineSettings(),
        has_new_contract=bool(ti.xcom_pull(task_ids="publish")),
    )
    log.info("training is announced: nothing waits, and %d batches are published", n_published)
    outlet_events[TRAINING_READY].extra = {"published": n_published}
