"""A batch is published once, with exact counts, though a process is killed while dbt builds it."""

import csv
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from readmit.batches import claims
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from stack import pipeline, processes
from stack.supervisor import Supervisor
from tests.support import accounting, stack
from tests.support.services import wait_until

N_ROWS = 500
DBT = "dbt.dbt_producer_watcher"


def write_train_rows(path: Path, seed: int) -> int:
    """Write rows of one split: the file makes one batch. Returns how many rows."""
    sample.write_csv(path, N_ROWS, seed)
    with path.open(newline="") as file:
        rows = []
        for row in csv.DictReader(file):
            if split_of(row["patient_nbr"]) == "train":
                rows.append(row)
    # Stays of this file only: a stay that is published already would go to quarantine.
    for number, row in enumerate(rows):
        row["encounter_id"] = str(seed * 1_000_000 + number)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def worker(up, run_id: str) -> int:
    """Return the process that runs dbt: `airflow worker -- <id of the task>`; its parent is named
    LocalExecutor.
    """
    [task] = [task for task in up.airflow.tasks(pipeline.INGEST, run_id) if task["task_id"] == DBT]
    for process in processes.family(stack.pid(up.settings, "airflow-scheduler")):
        title = ""
        with suppress(psutil.NoSuchProcess):  # another task has ended meanwhile
            title = " ".join(process.cmdline())
        if str(task["id"]) in title and "LocalExecutor" not in title:
            return process.pid
    return 0


def victim(up, name: str, run_id: str) -> int:
    if name == "worker":
        return worker(up, run_id)
    return stack.pid(up.settings, name)


def run_with_dbt(up) -> str:
    """Return the run whose dbt is at work, or "". At a full hour the schedule's run may be it."""
    for run in up.airflow.active(pipeline.INGEST):
        run_id = str(run["dag_run_id"])
        for task in up.airflow.tasks(pipeline.INGEST, run_id):
            if task["task_id"] == DBT and task["state"] == "running":
                return run_id
    return ""


def submit_and_wait_for_dbt(up, path: Path, seed: int) -> tuple[int, str]:
    """Submit a file that makes one batch; returns its rows and the run whose dbt is at work now."""
    n_rows = write_train_rows(path, seed)
    sources.submit(str(path), up.settings)
    up.airflow.trigger(pipeline.INGEST)
    run_id = wait_until(lambda: run_with_dbt(up), "dbt does not run", seconds=180)
    return n_rows, str(run_id)


def check_that_rows_were_added(up, before: tuple[int, ...], n_rows: int) -> None:
    """Every row is accounted for, and none was added twice."""
    accounting.check(up.settings)
    after = accounting.totals(up.settings)
    assert after[0] - before[0] == n_rows
    assert after[0] == sum(after[1:])


def is_stopped(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


@pytest.mark.parametrize(
    ("name", "seed"), [("postgres", 201), ("airflow-scheduler", 202), ("worker", 203)]
)
def test_a_batch_survives_kill_9_during_dbt(up, tmp_path, name, seed):
    up.airflow.pause(pipeline.TRAIN)  # the last test trains
    before = accounting.totals(up.settings)
    n_rows, run_id = submit_and_wait_for_dbt(up, tmp_path / "more.csv", seed)
    target = wait_until(lambda: victim(up, name, run_id), f"no process of {name}")
    if name == "worker":
        os.kill(target, signal.SIGSTOP)  # it must not end by itself meanwhile
    assert target in stack.leftovers(up.settings)  # what `make down` would find
    os.kill(target, signal.SIGKILL)
    messages: list[str] = []
    pipeline.publish_waiting(up.airflow, up.settings, messages.append)
    assert claims.count_waiting(up.settings) == 0, messages
    check_that_rows_were_added(up, before, n_rows)


def test_down_ends_all_and_up_goes_on_after_kill_9_of_supervisor_and_scheduler(up, tmp_path):
    """The worker outlives both, and other processes of its user cannot read its environment."""
    up.airflow.pause(pipeline.TRAIN)
    before = accounting.totals(up.settings)
    n_rows, run_id = submit_and_wait_for_dbt(up, tmp_path / "more.csv", seed=204)
    task = wait_until(lambda: worker(up, run_id), "no process runs dbt")
    os.kill(task, signal.SIGSTOP)  # it must not end by itself meanwhile
    wait_until(lambda: is_stopped(task), "dbt's process has ended")
    scheduler = stack.pid(up.settings, "airflow-scheduler")
    supervisor = Supervisor(up.settings).pid()
    everything = processes.family(supervisor)
    os.kill(supervisor, signal.SIGKILL)  # first: it would start another scheduler
    os.kill(scheduler, signal.SIGKILL)
    assert task in stack.leftovers(up.settings)
    os.kill(task, signal.SIGCONT)
    stopped = stack.run("stack.down")
    assert (stopped.returncode, stopped.stdout) == (0, "everything is stopped\n")
    for process in everything:
        assert not processes.is_running(process), process
    started = stack.run("stack.up", seconds=1200)  # publishes what waits, and trains
    assert started.returncode == 0, started.stdout[-4000:]
    assert claims.count_waiting(up.settings) == 0
    check_that_rows_were_added(up, before, n_rows)
