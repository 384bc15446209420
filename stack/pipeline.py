"""`make pipeline`: publish the waiting batches, then train until a model is in production.

Each batch takes one run of the DAG `ingest_batch`. `make up` calls the same functions.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx
from psycopg2 import OperationalError

from readmit import db
from readmit.batches import claims
from readmit.batches.builds import Build
from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import StackSettings
from stack.airflow_api import ACTIVE, Airflow, AirflowFailed, progress_of, state_of
from stack.configuration import stack_settings
from stack.outcomes import (
    Outcome,
    count_published,
    outcomes_of,
    stop_if_all_rejected,
    summary,
    table,
)
from stack.progress import Progress

INGEST = "ingest_batch"
TRAIN = "train_model"
ANNOUNCEMENT = "announce_training"  # the task of INGEST that emits the Asset
DECISION = "decide"  # the task of TRAIN after which the model is in production, or is not
# States of that task, besides success, in which it stays.
UNDECIDED = ("failed", "upstream_failed", "skipped", "removed")
DAGS = (INGEST, TRAIN, "publish_docs", "monitor_model", "housekeep")
# A run after which as many builds wait as before failed for a technical reason, not for bad data.
FRUITLESS_RUNS = 2
SECONDS_PER_BATCH = 20  # about, on 2 cores
SECONDS_FOR_ASSET = 90
SECONDS_FOR_POSTGRES = 60
# With a new dbt manifest or on a cold machine, Airflow needs several seconds for Cosmos' DAG.
SECONDS_FOR_DAGS = 240
# An error may belong to an earlier version of a file, which Airflow is about to read again.
SECONDS_FOR_REPAIRED_DAGS = 60

Show = Callable[[str], None]
Answer = TypeVar("Answer")


def unpause(airflow: Airflow, show: Show) -> None:
    """Wait until Airflow has read all DAG files, then unpause the DAGs.

    A DAG that Airflow reads later would stay paused.

    Raises:
        AirflowFailed: Airflow cannot read a file; the message names it.
    """
    started = time.monotonic()
    while missing := {*DAGS} - airflow.dag_ids():
        show(f"waiting until Airflow has read {', '.join(sorted(missing))}")
        errors = airflow.import_errors()
        patience = SECONDS_FOR_DAGS
        if errors:
            patience = SECONDS_FOR_REPAIRED_DAGS
        if time.monotonic() - started > patience:
            reason = "; ".join(errors) or "Airflow shows no error"
            raise AirflowFailed(f"Airflow did not read the DAGs: {reason}")
        time.sleep(1)
    for dag_id in DAGS:
        airflow.pause(dag_id, is_paused=False)


def publish_waiting(airflow: Airflow, settings: StackSettings, show: Show) -> list[Outcome]:
    """Publish all waiting builds, of batches and corrections.

    Returns:
        The verdict on each of them.

    Raises:
        AirflowFailed: runs fail without a verdict on their batch; the message names the task.
    """
    remaining = _waiting(settings)
    builds = dict.fromkeys(remaining)  # in the order in which they were first seen
    n_fruitless = 0
    while remaining:
        prefix = f"build {len(builds) - len(remaining) + 1} of {len(builds)}, "
        run_id, state = follow_next(airflow, INGEST, show, prefix)
        n_before = len(remaining)
        remaining = _waiting(settings)
        builds |= dict.fromkeys(remaining)
        if state == "failed":
            task = airflow.failed_task(INGEST, run_id)
            show(f"run {run_id} failed at {task}: see its log in Airflow")
        n_fruitless += 1
        if len(remaining) < n_before:
            n_fruitless = 0
        if n_fruitless > FRUITLESS_RUNS:
            raise AirflowFailed(_explain(airflow, INGEST, run_id))
    return _patiently(
        lambda: outcomes_of([*builds], settings), OperationalError, _seconds_for_postgres(settings)
    )


def _waiting(settings: StackSettings) -> list[Build]:
    """Return the builds that wait; retry, since a killed Postgres is back within seconds."""
    return _patiently(
        lambda: claims.waiting(settings), OperationalError, _seconds_for_postgres(settings)
    )


def _seconds_for_postgres(settings: StackSettings) -> float:
    return max(SECONDS_FOR_POSTGRES, settings.patience_seconds)


def _patiently(ask: Callable[[], Answer], away: type[Exception], seconds: float) -> Answer:
    """Ask until there is an answer, or raise the error `away` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except away:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


def train(airflow: Airflow, settings: StackSettings, show: Show, published: int) -> str | None:
    """Wait until the training that the Asset starts has decided on its model.

    Start a training when no model is in production and no training runs.

    Args:
        airflow: the client.
        settings: the settings of the stack.
        show: prints the progress.
        published: number of builds that were just published; any of them starts a training.

    Returns:
        The run, whose last tasks still run (`finish_training`), or None when there is nothing to
        train for.

    Raises:
        AirflowFailed: the training failed, or no model is in production; the message says why.
    """
    run_id = _active(airflow, TRAIN)
    if run_id is None and published and _is_announced(airflow):
        run_id = _asset_run(airflow, show)
    if run_id is None and not in_production(settings):
        run_id = airflow.trigger(TRAIN)
    if run_id is not None:
        _follow_to_decision(airflow, run_id, show)
    if not in_production(settings):
        raise AirflowFailed(f"no model is in production: {_last_decision(settings)}")
    return run_id


def _follow_to_decision(airflow: Airflow, run_id: str, show: Show) -> None:
    """Wait until a training has decided; one request a second, since the fits need the cores.

    Raises:
        AirflowFailed: a task failed; the message names it.
    """
    while True:
        tasks = airflow.tasks(TRAIN, run_id)
        decision = state_of(DECISION, tasks)
        if decision == "success":
            return
        has_begun = any(task["state"] for task in tasks)
        working = run_id if has_begun else _active(airflow, TRAIN)
        if decision in UNDECIDED or working is None:
            finish_training(airflow, run_id, show)
            return
        if working == run_id:
            show(progress_of(tasks))
        else:
            show(f"another training is first, {airflow.task_progress(TRAIN, working)}")
        time.sleep(1)


def finish_training(airflow: Airflow, run_id: str, show: Show) -> None:
    """Wait for what follows the decision: the sealed test and the learning curve.

    Raises:
        AirflowFailed: a task failed; the message names it.
    """
    if follow(airflow, TRAIN, run_id, show) != "success":
        raise AirflowFailed(_explain(airflow, TRAIN, run_id))


def _is_announced(airflow: Airflow) -> bool:
    """Return whether the last run of `ingest_batch` announced a training.

    When everything it did was to reject a batch, no Asset comes, and nobody need wait for it.
    """
    runs = airflow.runs(INGEST)
    if not runs:
        return False
    return airflow.task_state(INGEST, str(runs[0]["dag_run_id"]), ANNOUNCEMENT) == "success"


def _last_decision(settings: StackSettings) -> str:
    query = (
        "select challenger_version, reason from ops.promotions order by promotion_id desc limit 1"
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query)
        row = cur.fetchone()
    if row is None:
        return "there is no promotion decision yet"
    version, reason = row
    return f"version {version}: {reason}"


def follow(airflow: Airflow, dag_id: str, run_id: str, show: Show, prefix: str = "") -> str:
    """Wait for the end of a run and return its state; `prefix` starts each line of progress."""
    while (state := str(airflow.run(dag_id, run_id)["state"])) in ACTIVE:
        show(prefix + airflow.task_progress(dag_id, run_id))
        time.sleep(1)
    return state


def follow_next(airflow: Airflow, dag_id: str, show: Show, prefix: str = "") -> tuple[str, str]:
    """Wait for the end of the run of a DAG that works next; start a run when there is none.

    One run works at a time. A run that we started may have to queue behind one of the schedule,
    which begins the moment the DAG is unpaused: then that one is followed.

    Returns:
        The run that ended, and its state.
    """
    run_id = _active(airflow, dag_id) or airflow.trigger(dag_id)
    while (state := str(airflow.run(dag_id, run_id)["state"])) in ACTIVE:
        if state == "queued":
            run_id = _active(airflow, dag_id) or run_id
        show(prefix + airflow.task_progress(dag_id, run_id))
        time.sleep(0.4)  # the next batch waits for the end of this one to be seen
    return run_id, state


def in_production(settings: StackSettings) -> str | None:
    """Return the version that the alias `production` points at, or None.

    Raises:
        httpx.HTTPError: MLflow does not answer.
    """
    parameters = {"name": settings.model_name, "alias": "production"}
    url = f"{settings.mlflow_tracking_uri}/api/2.0/mlflow/registered-models/alias"

    def ask() -> httpx.Response:
        login = settings.mlflow_login()
        response = httpx.get(url, params=parameters, auth=login, timeout=30, trust_env=False)
        if response.is_server_error:
            response.raise_for_status()
        return response

    response = _patiently(ask, httpx.HTTPError, settings.patience_seconds)
    if not response.is_success:
        return None
    return str(response.json()["model_version"]["version"])


def _active(airflow: Airflow, dag_id: str) -> str | None:
    """Return the run of a DAG that works, else the oldest that is queued."""
    runs = airflow.active(dag_id)
    if not runs:
        return None
    running = [run for run in runs if run["state"] == "running"]
    return str((running or runs)[-1]["dag_run_id"])


def _asset_run(airflow: Airflow, show: Show) -> str | None:
    """Wait for the training run that the last published batch starts, and return its id."""
    deadline = time.monotonic() + SECONDS_FOR_ASSET
    while time.monotonic() < deadline:
        run_id = _active(airflow, TRAIN)
        if run_id is not None:
            return run_id
        show("waiting until the Asset training_ready starts a run")
        time.sleep(1)
    return None


def _explain(airflow: Airflow, dag_id: str, run_id: str) -> str:
    task = airflow.failed_task(dag_id, run_id) or "(none ran)"
    return f"{dag_id} failed at the task {task} (run {run_id}); its log is in Airflow's grid"


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make pipeline`; `--batches-only` does not wait for the training."""
    parser = argparse.ArgumentParser(prog="python -m stack.pipeline", description="The pipeline.")
    parser.add_argument("--batches-only", action="store_true", help="do not wait for a training")
    options = parser.parse_args(arguments)
    settings = stack_settings()
    progress = Progress()
    try:
        airflow = Airflow(settings)
        with progress.phase("reading the DAG files"):
            unpause(airflow, progress.show)
        with progress.phase("publishing batches"):
            outcomes = publish_waiting(airflow, settings, progress.show)
        stop_if_all_rejected(outcomes, settings, progress.console)
        if not options.batches_only:
            with progress.phase("training"):
                training = train(airflow, settings, progress.show, count_published(outcomes))
            if training is not None:
                with progress.phase("sealed test and learning curve"):
                    finish_training(airflow, training, progress.show)
    except AirflowFailed as error:
        progress.error(str(error))
        return 1
    if outcomes:
        progress.console.print(table(outcomes, settings))
    version = in_production(settings) or "no"
    progress.console.print(f"{summary(outcomes)}; version {version} is in production")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
