"""What the DAGs share: default arguments, Assets, and the rule that bad data is never retried."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.types import OutletEventAccessorsProtocol

from pod_kinds import pod_of
from readmit.settings import PipelineSettings

P = ParamSpec("P")
R = TypeVar("R")

ENCOUNTER_FEATURES = Asset("encounter_features")
TRAINING_READY = Asset("training_ready")
MODEL_DECISION = Asset("model_decision")


def report_success(context: Mapping[str, object]) -> None:
    """Tell the Pushgateway how long the task took."""
    from readmit.telemetry import pushgateway

    pushgateway.task_ended(context, PipelineSettings(), succeeded=True)


def report_failure(context: Mapping[str, object]) -> None:
    """The same for a try that failed, whether it is retried or not."""
    from readmit.telemetry import pushgateway

    pushgateway.task_ended(context, PipelineSettings(), succeeded=False)


# Infrastructure comes back: five tries over about two minutes outlast the restart of any component.
DEFAULT_ARGS: dict[str, object] = {
    "owner": "readmit",
    "retries": 5,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=1),
    "execution_timeout": timedelta(minutes=30),
    "on_success_callback": report_success,
    "on_failure_callback": report_failure,
    "on_retry_callback": report_failure,
}
DAG_ARGS: dict[str, object] = {
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": DEFAULT_ARGS,
}


def nothing(task_id: str) -> EmptyOperator:
    """Return a task that only stands for a point of the run; without a callback it costs no
    process.
    """
    return EmptyOperator(task_id=task_id, on_success_callback=None)


def bad_data_is_final(function: Callable[P, R]) -> Callable[P, R]:
    """Turn a verdict on the data into a failure without retries: the same bytes get the same
    verdict.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from readmit.errors import BadData

        try:
            return function(*args, **kwargs)
        except BadData as error:
            raise AirflowFailException(str(error)) from error

    return run


def news_for_training(announcements: Any, settings: PipelineSettings) -> int:  # noqa: ANN401 (Airflow's accessor)
    """Return how many batches are published; each announcement carries that number, so the last one
    is the memory.

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
    if n_published <= n_announced:
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
) -> None:
    """Announce to training, after every run, that nothing waits and that more is published than
    last time.
    """
    n_published = news_for_training(inlet_events[TRAINING_READY], PipelineSettings())
    outlet_events[TRAINING_READY].extra = {"published": n_published}
