"""The task that runs dbt, and tells the tasks of the models how theirs ended."""

import json
from collections.abc import Callable, Collection

from cosmos.operators.watcher import DbtConsumerWatcherSensor, DbtProducerWatcherOperator

# dbt's first events: its version and its adapter.
STARTUP_EVENTS = ("MainReportVersion", "AdapterRegistered")
# Each is replaced by the last event of its model, which is the one that the model's task reads.
PASSING_EVENTS = ("NodeStart", "NodeCompiling", "NodeExecuting")

StoreEvent = Callable[[str, object], None]


class WatchedModelsProducer(DbtProducerWatcherOperator):
    """Cosmos' task that runs dbt; it stores what the tasks of the models read, and nothing else.

    Cosmos stores four events of each model, seed and test as XComs: 200 requests to Airflow's API
    in a build, one after the other, for which dbt's threads wait.
    """

    def _make_parse_callable(self) -> StoreEvent:
        store: StoreEvent = super()._make_parse_callable()
        watched = set()
        for task in self.task_group.children.values():
            if isinstance(task, DbtConsumerWatcherSensor):
                watched.add(task.model_unique_id)

        def store_if_read(line: str, run: object) -> None:
            if is_read(line, watched):
                store(line, run)

        return store_if_read


def is_read(line: str, watched: Collection[str]) -> bool:
    """Return whether a task reads an event of dbt, a line of its JSON log."""
    event = json.loads(line)
    name = event["info"]["name"]
    node = event.get("data", {}).get("node_info", {})
    return name in STARTUP_EVENTS or (
        node.get("unique_id") in watched and name not in PASSING_EVENTS
    )
