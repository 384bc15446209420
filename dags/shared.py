"""What the DAGs share: default arguments, Assets, and the rule that bad data is never retried."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException

P = ParamSpec("P")
R = TypeVar("R")

ENCOUNTER_FEATURES = Asset("encounter_features")
TRAINING_READY = Asset("training_ready")
MODEL_DECISION = Asset("model_decision")

# Infrastructure comes back: five tries over about two minutes outlast the restart of any component.
DEFAULT_ARGS: dict[str, Any] = {
    "owner": "readmit",
    "retries": 5,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=1),
    "execution_timeout": timedelta(minutes=30),
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
