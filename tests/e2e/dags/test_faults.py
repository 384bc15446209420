"""Whatever is killed while dbt builds a batch: the batch is published, once, with exact counts."""

import csv
import os
import signal
from pathlib import Path

import pytest

from readmit.batches import claims
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from stack import pipeline, processes
from tests.support import accounting, stack
from tests.support.services import wait_until

N_ROWS = 500
DBT = "dbt.dbt_producer_watcher"


def write_train_rows(path: Path, seed: int) -> int:
    """Write rows of one split: the file makes one batch. Returns how many rows."""
    sample.write_csv(path, N_ROWS, seed)
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if split_of(row["patient_nbr"]) == "train"]
    # Stays of this file only: a stay that is published already would go to quarantine.
    for number, row in enumerate(rows):
        row["encounter_id"] = str(seed * 1_000_000 + number)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def worker(up, run_id: str) -> int:
    """Return the process that runs dbt: `airflow worker -- <id of the task>`; its parent is named LocalExecutor."""
    [task] = [task for task in up.airflow.tasks(pipeline.INGEST, run_id) if task["task_id"] == DBT]
    for pid in processes.family(stack.pid(up.settings, "airflow-scheduler")):
        title = (processes.PROC / str(pid) / "cmdline").read_bytes()
        if str(task["id"]).encode() in title and b"LocalExecutor" not in title:
            return pid
    return 0


def victim(up, name: str, run_id: str) -> int:
    return worker(up, run_id) if name == "worker" else stack.pid(up.settings, name)


def dbt_runs(up, run_id: str) -> bool:
    tasks = {task["task_id"]: task["state"] for task in up.airflow.tasks(pipeline.INGEST, run_id)}
    return tasks.get(DBT) == "running"


@pytest.mark.parametrize(
    ("name", "seed"), [("postgres", 201), ("airflow-scheduler", 202), ("worker", 203)]
)
def test_a_batch_survives_kill_9_during_dbt(up, tmp_path, name, seed):
    up.airflow.pause(
        pipeline.TRAIN, is_paused=name != "worker"
    )  # one of the three batches trains again
    before = accounting.totals(up.settings)
    n_rows = write_train_rows(tmp_path / "more.csv", seed)
    sources.submit(str(tmp_path / "more.csv"), up.settings)
    run_id = up.airflow.trigger(pipeline.INGEST)
    wait_until(lambda: dbt_runs(up, run_id), "dbt does not run", seconds=180, pause=1)
    target = wait_until(lambda: victim(up, name, run_id), f"no process of {name}")
    assert target in stack.leftovers(up.settings)  # what `make down` would find
    os.kill(target, signal.SIGKILL)
    said: list[str] = []
    pipeline.publish_waiting(up.airflow, up.settings, said.append)
    assert claims.waiting(up.settings) == 0, said
    accounting.check(up.settings)
    after = accounting.totals(up.settings)
    assert after[0] - before[0] == n_rows
    assert after[0] == sum(after[1:])
