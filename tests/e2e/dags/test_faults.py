"""A batch is published once, with exact counts, though processes are killed while dbt builds it."""

import csv
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2

from readmit.batches import claims
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from stack import pipeline, processes
from stack.airflow_api import state_of
from stack.supervisor import Supervisor
from tests.support import accounting, stack
from tests.support.raw import query
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


def run_with_dbt(up) -> str:
    """Return the run whose dbt is at work, or "". At a full hour the schedule's run may be it."""
    for run in up.airflow.active(pipeline.INGEST):
        run_id = str(run["dag_run_id"])
        for task in up.airflow.tasks(pipeline.INGEST, run_id):
            if task["task_id"] == DBT and task["state"] == "running":
                return run_id
    return ""


def dbt_has_a_session(up) -> bool:
    """Return whether dbt works in Postgres now; Postgres itself may be about to come back."""
    statement = "select 1 from pg_stat_activity where usename = 'transformer'"
    with suppress(psycopg2.OperationalError):
        return bool(query(up.settings, up.settings.clean_database, statement))
    return False


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


def has_ended(up, run_id: str) -> bool:
    """Return whether the task that builds all models has ended; those of the models build then."""
    return state_of(DBT, up.airflow.tasks(pipeline.INGEST, run_id)) != "running"


def test_a_batch_survives_kill_9_of_worker_postgres_and_scheduler_during_dbt(up, tmp_path):
    """One after the other: the worker while one dbt builds all models, the others while the tasks
    of the models build what it has left.
    """
    up.airflow.pause(pipeline.TRAIN)  # the last test trains
    before = accounting.totals(up.settings)
    n_rows, run_id = submit_and_wait_for_dbt(up, tmp_path / "more.csv", seed=201)
    dbt = wait_until(lambda: worker(up, run_id), "no process runs dbt")
    programs = [stack.pid(up.settings, name) for name in ("postgres", "airflow-scheduler")]
    assert {dbt, *programs} <= {*stack.leftovers(up.settings)}  # what `make down` would find
    os.kill(dbt, signal.SIGKILL)
    wait_until(lambda: has_ended(up, run_id), "Airflow does not see that the worker is gone")
    for program in programs:
        wait_until(lambda: dbt_has_a_session(up), "no task of a model builds it")
        os.kill(program, signal.SIGKILL)
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
