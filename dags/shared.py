"""What the DAGs share: default arguments, Assets, and the rule that bad data is never retried."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import Asset, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from readmit.settings import PipelineSettings

P = ParamSpec("P")
R = TypeVar("R")

ENCOUNTER_FEATURES = Asset("encounter_features")
TRAINING_READY = Asset("training_ready")
MODEL_DECISION = Asset("model_decision")


def report_success(context: Any) -> None:  # noqa: ANN401 (Airflow's context)
    """Tell the Pushgateway how long the task took."""
    from readmit.telemetry import pushgateway

    pushgateway.task_ended(context, PipelineSettings(), succeeded=True)


def report_failure(context: Any) -> None:  # noqa: ANN401
    """The same for a try that failed, whether it is retried or not."""
    from readmit.telemetry import pushgateway

    pushgateway.task_ended(context, PipelineSettings(), succeeded=False)


# Infrastructure comes back: five tries over about two minutes outlast the restart of any component.
DEFAULT_ARGS: dict[str, Any] = {
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


def bad_data_is_final(function: Callable[P, R]) -> Callable[P, R]:
    """Turn a verdict on the data into a failure without retries: the same bytes get the same verdict."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from readmit.errors import BadData

        try:
            return function(*args, **kwargs)
        except BadData as error:
            raise AirflowFailException(str(error)) from error

    return run


def news_for_training(announced: Any, settings: PipelineSettings) -> int:  # noqa: ANN401 (Airflow's accessor of an Asset's events)
    """Return how many batches are published; each announcement carries that number, so the last one is the memory.

    Raises:
        AirflowSkipException: batches wait, or nothing was published since training was told last.
    """
    from readmit.batches import builds, claims

    told = [event.extra.get("published", 0) for event in announced.ascending(False).limit(1)]
    if waiting := claims.waiting(settings):
        raise AirflowSkipException(f"{waiting} batches are still waiting")
    if (published := builds.published(settings)) <= max(told, default=0):
        raise AirflowSkipException("training knows of all that is published")
    return published


@task(inlets=[TRAINING_READY], outlets=[TRAINING_READY], trigger_rule=TriggerRule.ALL_DONE)
def announce_training(inlet_events: Any = None, outlet_events: Any = None) -> None:  # noqa: ANN401 (Airflow's)
    """Tell training, after whatever run, when nothing waits and there is more than it was told of last."""
    n_published = news_for_training(inlet_events[TRAINING_READY], PipelineSettings())
    outlet_events[TRAINING_READY].extra = {"published": n_published}
