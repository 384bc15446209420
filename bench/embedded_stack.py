"""Figures of the running stack.

Memory, the last `make up`, the last training, the latest batches, dbt in Airflow over plain dbt.
"""

import json
import statistics
from datetime import datetime
from typing import Any

from bench import private_services
from bench.figure import CannotMeasure, Figure
from readmit.batches import loading
from readmit.batches.builds import Build
from readmit.settings import StackSettings
from stack import pipeline, status
from stack.airflow_api import Airflow, AirflowFailed
from stack.configuration import stack_settings
from stack.up import TIMES

REPEATS = 3
# The task that ends a run which had something to do; other runs have skipped tasks only.
LAST_TASK = {pipeline.INGEST: "publish", pipeline.TRAIN: "decide"}
# A run or task as Airflow's API has it.
Entry = dict[str, Any]


def idle_memory() -> list[Figure]:
    """Sum the proportional memory of all processes while no run is active."""
    settings = stack_settings()
    components = status.components(settings)
    down = [component["title"] for component in components if not component["up"]]
    if len(components) < 2:
        down = ["the stack"]
    if down:
        raise CannotMeasure(f"{', '.join(down)}: not up; make up")
    airflow = _airflow(settings)
    for dag_id in airflow.dag_ids().intersection(pipeline.DAGS):
        if airflow.active(dag_id):
            raise CannotMeasure("a run is under way: wait for its end (make status)")
    components.sort(key=lambda component: -int(component["memory_mb"]))
    largest = [f"{component['title']} {component['memory_mb']} MB" for component in components[:4]]
    detail = f"{len(components)} components; {', '.join(largest)}"
    memory_gb = sum(component["memory_mb"] for component in components) / 1000
    return [Figure("stack_idle_memory_gb", memory_gb, "GB", "<= 2.5", detail)]


def up_minutes() -> list[Figure]:
    """Read how long the last `make up` took that started with nothing published."""
    path = stack_settings().readmit_home / TIMES
    if not path.exists():
        raise CannotMeasure("no `make up` from nothing is on record: make down clean up")
    times = json.loads(path.read_text(encoding="utf-8"))
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times["phases"].items())
    detail = f"{times['batches']} batches; {phases}"
    return [Figure("up_minutes", times["seconds"] / 60, "min", "<= 5", detail)]


def train_minutes() -> list[Figure]:
    """Read how long the last training run in Airflow took until its decision.

    The sealed test and the learning curve come later.
    """
    airflow = _airflow(stack_settings())
    run = _successful_runs(airflow, pipeline.TRAIN)[0]
    run_id = str(run["dag_run_id"])
    [end] = [
        task["end_date"]
        for task in airflow.tasks(pipeline.TRAIN, run_id)
        if task["task_id"] == pipeline.DECISION
    ]
    seconds = _timestamp(end) - _timestamp(run["start_date"])
    detail = f"run {run_id}, from start to the decision"
    return [Figure("train_minutes", seconds / 60, "min", "<= 1.7", detail)]


def dbt_ratio() -> list[Figure]:
    """Compare dbt's part of the latest full batches with a plain `dbt build` of such a batch."""
    settings = stack_settings()
    airflow = _airflow(settings)
    in_airflow: list[float] = []
    for run in _successful_runs(airflow, pipeline.INGEST):
        tasks = airflow.tasks(pipeline.INGEST, run["dag_run_id"])
        # A correction skips the load, and is small.
        loads = [task for task in tasks if task["task_id"] == "load"]
        has_loaded = bool(loads) and loads[0]["state"] == "success"
        if len(in_airflow) < REPEATS and has_loaded:
            in_airflow.append(_dbt_seconds(tasks))
    plain = []
    with private_services.databases(REPEATS + 1, settings.batch_size) as own_settings:
        for batch in private_services.train_batches(own_settings)[: REPEATS + 1]:
            plain.append(_plain_build_seconds(own_settings, batch.batch_id))
    del plain[0]  # the first build creates the tables
    ours = statistics.median(in_airflow)
    theirs = statistics.median(plain)
    detail = f"in Airflow {ours:.1f} s, plain {theirs:.1f} s, "
    detail += f"medians of {len(in_airflow)} and {len(plain)} batches"
    return [Figure("dbt_airflow_vs_cli", ours / theirs, "ratio", "<= 1.6", detail)]


def batch_seconds() -> list[Figure]:
    """Read how long the latest full batches took in Airflow, from claim to published."""
    airflow = _airflow(stack_settings())
    seconds: list[float] = []
    for run in _successful_runs(airflow, pipeline.INGEST):
        tasks = airflow.tasks(pipeline.INGEST, run["dag_run_id"])
        states = {str(task["task_id"]): task["state"] for task in tasks}
        ends = {str(task["task_id"]): task["end_date"] for task in tasks}
        # A correction skips the load, and is small.
        if len(seconds) < REPEATS and states.get("load") == "success":
            published = _timestamp(ends[LAST_TASK[pipeline.INGEST]])
            seconds.append(published - _timestamp(run["start_date"]))
    detail = f"median of {len(seconds)} batches, from the start of the run to `publish`"
    return [Figure("batch_seconds", statistics.median(seconds), "s", "<= 20", detail)]


def _dbt_seconds(tasks: list[Entry]) -> float:
    """Return the seconds from the end of the raw gate to the end of dbt.

    They include the waiting for the scheduler.
    """
    ends = {task["task_id"]: _timestamp(task["end_date"]) for task in tasks if task["end_date"]}
    dbt_ends = [end for task_id, end in ends.items() if task_id.startswith("dbt.")]
    return max(dbt_ends) - ends["raw_gate"]


def _plain_build_seconds(settings: StackSettings, batch_id: str) -> float:
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    seconds = private_services.seconds(private_services.dbt_build, settings)
    Build.of_batch(batch_id).publish(settings)
    return seconds


def _successful_runs(airflow: Airflow, dag_id: str) -> list[Entry]:
    """Return the runs that did something, newest first."""
    runs = []
    for run in airflow.runs(dag_id):
        if run["state"] != "success":
            continue
        for task in airflow.tasks(dag_id, run["dag_run_id"]):
            if task["task_id"] == LAST_TASK[dag_id] and task["state"] == "success":
                runs.append(run)
    if not runs:
        raise CannotMeasure(f"no successful run of {dag_id}: make up")
    return runs


def _airflow(settings: StackSettings) -> Airflow:
    airflow = Airflow(settings.model_copy(update={"patience_seconds": 1}))
    try:
        airflow.dag_ids()
    except AirflowFailed as error:
        raise CannotMeasure(f"{error}; make up") from error
    return airflow


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


MEASURES = {
    ("stack_idle_memory_gb",): idle_memory,
    ("up_minutes",): up_minutes,
    ("train_minutes",): train_minutes,
    ("dbt_airflow_vs_cli",): dbt_ratio,
    ("batch_seconds",): batch_seconds,
}
