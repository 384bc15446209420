"""The task of a dbt model: what its log says, and how it waits in Airflow's triggerer.

There only a model that dbt did not build costs a process or a pod: the task builds it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskInstanceState
from airflow.triggers.base import StartTriggerArgs, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async
from cosmos.listeners.dag_run_listener import EventStatus
from cosmos.operators._watcher.state import get_dbt_event_xcom_key, is_producer_task_terminated
from cosmos.operators._watcher.triggerer import WatcherEventReason, WatcherTrigger
from cosmos.operators.watcher import DbtConsumerWatcherSensor

from readmit.settings import PushgatewaySettings
from readmit.telemetry.library_logs import hide_info_of_libraries

if TYPE_CHECKING:
    from readmit.telemetry.pushgateway import TaskInstance

log = logging.getLogger("readmit")
hide_info_of_libraries()  # the triggerer imports no DAG file

# The triggerer imports it from the folder of the project, not from that of the DAG files.
TRIGGER = "dags.model_trigger.ModelTrigger"
BUILD_IT = {"status": EventStatus.FAILED, "reason": WatcherEventReason.PRODUCER_SKIPPED}


def log_model(context: Mapping[str, Any]) -> None:
    """Say in the log of a model's task what became of the model."""
    task = context["task"]
    key = get_dbt_event_xcom_key(task.model_unique_id)
    event = context["ti"].xcom_pull(task_ids=task.producer_task_id, key=key)
    if event and event["status"] == EventStatus.SUCCESS:
        _log_success(task.model_unique_id, event)
    else:
        log.info("%s is built, by this task", task.model_unique_id)


def _log_success(model: str, event: Mapping[str, str]) -> None:
    times = (event["start_time"], event["finish_time"])
    log.info("%s is built, by dbt_producer_watcher %s to %s: %s", model, *times, event["msg"])


class ModelTrigger(WatcherTrigger):
    """Ends the task when dbt has built its model; else lets the task build it, after dbt."""

    def __init__(self, model_unique_id: str, producer_task_id: str, poke_interval: float) -> None:
        # The triggerer sets the task afterwards: its run is known in `run`.
        super().__init__(model_unique_id, producer_task_id, "", "", -1, poke_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as Airflow stores them."""
        names = ("model_unique_id", "producer_task_id", "poke_interval")
        return TRIGGER, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for what dbt says of the model, and yield one event."""
        task = self.task_instance
        self.dag_id = task.dag_id
        self.run_id = task.run_id
        # A task that failed, or that somebody cleared, builds its model itself.
        if task.try_number == 1 and await self._is_built():
            await sync_to_async(_report_success)(task)
            yield TaskSuccessEvent()
            return
        while not is_producer_task_terminated(await self._get_producer_task_status()):
            await asyncio.sleep(self.poke_interval)  # no two builds at once
        log.info("%s is left to this task", self.model_unique_id)
        yield TriggerEvent(BUILD_IT)

    async def _is_built(self) -> bool:
        """Return whether dbt has built the model, once that is decided."""
        key = get_dbt_event_xcom_key(self.model_unique_id)
        while True:
            # Before what dbt has told: it tells everything before it ends.
            state = await self._get_producer_task_status()
            event = None
            if state == TaskInstanceState.RUNNING or is_producer_task_terminated(state):
                event = await self.get_xcom_val(key)
            if event is not None and event["status"] == EventStatus.SUCCESS:
                _log_success(self.model_unique_id, event)
                return True
            if is_producer_task_terminated(state):
                return False
            await asyncio.sleep(self.poke_interval)


def _report_success(task: "TaskInstance") -> None:
    """Report what `on_success_callback` would: Airflow calls none of a task that ends here."""
    from readmit.telemetry import pushgateway

    pushgateway.task_ended({"ti": task}, PushgatewaySettings(), succeeded=True)


def start_in_triggerer(task: DbtConsumerWatcherSensor) -> None:
    """Let a model's task start in the triggerer."""
    arguments = {
        "model_unique_id": task.model_unique_id,
        "producer_task_id": task.producer_task_id,
        "poke_interval": task.poke_interval,
    }
    task.start_from_trigger = True
    task.start_trigger_args = StartTriggerArgs(TRIGGER, "execute_complete", arguments)
