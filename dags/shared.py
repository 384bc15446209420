"""What the DAGs share: default arguments, Assets, and the rule that bad data is never retried."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk.exceptions import AirflowFailException

from assets import DOCS_SITE
from readmit.settings import PipelineSettings
from readmit.telemetry.library_logs import hide_info_of_libraries

log = logging.getLogger("readmit")
hide_info_of_libraries()  # every DAG file imports this module before those libraries

P = ParamSpec("P")
R = TypeVar("R")


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
OWNER_LINKS = {"readmit": DOCS_SITE}
DAG_ARGS: dict[str, object] = {
    "owner_links": OWNER_LINKS,
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": DEFAULT_ARGS,
}
# With a start date, Airflow makes up for last night at the moment such a DAG is switched on: beside
# the first batch, when there is nothing to look after.
NIGHTLY_ARGS: dict[str, object] = {**DAG_ARGS, "start_date": None}


def nothing(task_id: str) -> EmptyOperator:
    """Return a task that only marks a point of the run.

    It has no callback, so it costs no process.
    """
    return EmptyOperator(task_id=task_id, on_success_callback=None)


def bad_data_is_final(function: Callable[P, R]) -> Callable[P, R]:
    """Turn a verdict on the data into a failure without retries.

    The same bytes get the same verdict. A disk that is almost full waits for a person: the next
    run tries again.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from readmit.errors import BadData, NoRoom

        try:
            return function(*args, **kwargs)
        except (BadData, NoRoom) as error:
            raise AirflowFailException(str(error)) from error

    return run
