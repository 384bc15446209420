"""Figures of the running stack: memory, the last `make up`, the last training, dbt through Airflow over plain dbt."""

import json
import statistics
from datetime import datetime
from typing import Any

from bench import private_services
from bench.figure import CannotMeasure, Figure
from readmit.batches import builds, loading
from readmit.settings import StackSettings
from stack import pipeline, status
from stack.airflow_api import Airflow, AirflowFailed
from stack.configuration import stack_settings
from stack.up import TIMES

REPEATS = 3


def idle_memory() -> list[Figure]:
    """Sum the proportional memory of all processes while no run is active."""
    settings = stack_settings()
    found = status.components(settings)
    if down := [item["title"] for item in found if not item["up"]] or (
        ["the stack"] if len(found) < 2 else []
    ):
        raise CannotMeasure(f"{', '.join(down)}: not up; make up")
    airflow = _airflow(settings)
    if any(airflow.active(dag_id) for dag_id in pipeline.DAGS if dag_id in airflow.dag_ids()):
        raise CannotMeasure("a run is under way: wait for its end (make status)")
    largest = sorted(found, key=lambda item: -item["memory_mb"])[:4]
    detail = ", ".join(f"{item['title']} {item['memory_mb']} MB" for item in largest)
    memory = sum(item["memory_mb"] for item in found) / 1000
    return [
        Figure("stack_idle_memory_gb", memory, "GB", "<= 5", f"{len(found)} components; {detail}")
    ]


def up_minutes() -> list[Figure]:
    """Read how long the last `make up` took that started with nothing published."""
    path = stack_settings().readmit_home / TIMES
    if not path.exists():
        raise CannotMeasure("no `make up` from nothing is on record: make down clean up")
    known = json.loads(path.read_text(encoding="utf-8"))
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in known["phases"].items())
    return [
        Figure(
            "up_minutes",
            known["seconds"] / 60,
            "min",
            "<= 15",
            f"{known['batches']} batches; {phases}",
        )
    ]


def train_minutes() -> list[Figure]:
    """Read how long the last training run took in Airflow."""
    run = _successful(_airflow(stack_settings()), pipeline.TRAIN)[0]
    seconds = _at(run["end_date"]) - _at(run["start_date"])
    return [
        Figure(
            "train_minutes",
            seconds / 60,
            "min",
            "<= 6",
            f"run {run['dag_run_id']}, from start to end",
        )
    ]


def dbt_ratio() -> list[Figure]:
    """Compare the dbt part of the latest batches of full size with plain `dbt build` of such a batch."""
    settings = stack_settings()
    airflow = _airflow(settings)
    runs = [run["dag_run_id"] for run in _successful(airflow, pipeline.INGEST)]
    parts = [_dbt_part(airflow.tasks(pipeline.INGEST, run_id)) for run_id in runs[:REPEATS]]
    with private_services.databases(REPEATS + 1, settings.batch_size) as own:
        batches = [batch_id for batch_id, _ in private_services.train_batches(own)][: REPEATS + 1]
        plain = [_plain_build(own, batch_id) for batch_id in batches][
            1:
        ]  # the first creates the tables
    ours, theirs = statistics.median(parts), statistics.median(plain)
    detail = f"in Airflow {ours:.1f} s, plain {theirs:.1f} s, medians of {len(parts)} and {len(plain)} batches"
    return [Figure("dbt_airflow_vs_cli", ours / theirs, "ratio", "<= 2.5", detail)]


def _dbt_part(tasks: list[dict[str, Any]]) -> float:
    """Seconds from the end of the raw gate to the end of the last dbt task: waiting for the scheduler included."""
    ends = {task["task_id"]: _at(task["end_date"]) for task in tasks if task["end_date"]}
    return max(end for name, end in ends.items() if name.startswith("dbt.")) - ends["raw_gate"]


def _plain_build(settings: StackSettings, batch_id: str) -> float:
    loading.load(batch_id, settings)
    builds.begin_build(batch_id, settings)
    took = private_services.seconds(lambda: private_services.dbt_build(settings))
    builds.publish(batch_id, settings)
    return took


def _successful(airflow: Airflow, dag_id: str) -> list[dict[str, Any]]:
    found = [run for run in airflow.runs(dag_id) if run["state"] == "success"]
    # A run that found nothing to do has skipped tasks only.
    done = [
        run
        for run in found
        if any(t["state"] == "success" for t in _late(airflow, dag_id, run["dag_run_id"]))
    ]
    if not done:
        raise CannotMeasure(f"no successful run of {dag_id}: make up")
    return done


def _late(airflow: Airflow, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    last = {pipeline.INGEST: "publish", pipeline.TRAIN: "decide"}[dag_id]
    return [task for task in airflow.tasks(dag_id, run_id) if task["task_id"] == last]


def _airflow(settings: StackSettings) -> Airflow:
    airflow = Airflow(settings, patience=1)
    try:
        airflow.dag_ids()
    except AirflowFailed as error:
        raise CannotMeasure(f"{error}; make up") from error
    return airflow


def _at(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


MEASURES = {
    ("stack_idle_memory_gb",): idle_memory,
    ("up_minutes",): up_minutes,
    ("train_minutes",): train_minutes,
    ("dbt_airflow_vs_cli",): dbt_ratio,
}
