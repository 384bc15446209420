"""Run what is waiting: one `ingest_batch` run per batch, then training, until a model is served.

`python -m stack.pipeline` (make pipeline); `make up` calls the same functions.
"""

import sys
import time
from collections.abc import Callable

import httpx
from psycopg2 import OperationalError

from readmit import db
from readmit.batches import claims
from readmit.command import explained
from readmit.settings import StackSettings
from stack.airflow_api import ACTIVE, Airflow, AirflowFailed
from stack.configuration import stack_settings
from stack.progress import Progress

INGEST, TRAIN = "ingest_batch", "train_model"
DAGS = (INGEST, TRAIN, "publish_docs", "monitor_model")
# A run that leaves as many batches waiting as before was a fault of the machinery, not of the data.
FRUITLESS_RUNS = 2
SECONDS_FOR_ASSET = 90
SECONDS_FOR_POSTGRES = 60
# A new dbt manifest or a cold machine: parsing Cosmos' DAG takes several seconds.
SECONDS_FOR_DAGS = 240
# An error may be of an earlier version of the file: each is read again every 30 s.
SECONDS_FOR_REPAIRED_DAGS = 60

Show = Callable[[str], None]


def unpause(airflow: Airflow, show: Show) -> None:
    """Wait until all DAG files are read, then switch the DAGs on: one that was read later would stay paused.

    Raises:
        AirflowFailed: a file cannot be read; the message names it.
    """
    began = time.monotonic()
    while missing := {*DAGS} - airflow.dag_ids():
        show(f"waiting for the files of {', '.join(sorted(missing))} to be read")
        errors = airflow.import_errors()
        if time.monotonic() - began > (SECONDS_FOR_REPAIRED_DAGS if errors else SECONDS_FOR_DAGS):
            raise AirflowFailed(
                "the DAGs were not read: " + ("; ".join(errors) or "Airflow shows no error")
            )
        time.sleep(1)
    for dag_id in DAGS:
        airflow.pause(dag_id, is_paused=False)


def publish_waiting(airflow: Airflow, settings: StackSettings, show: Show) -> int:
    """Publish build after build, batches and corrections, until none is waiting; returns how many there were.

    Raises:
        AirflowFailed: runs fail without a verdict on their batch; the message names the task.
    """
    total = left = _waiting(settings)
    fruitless = 0
    while left:
        run_id = current_or_new(airflow, INGEST)
        state = follow(airflow, INGEST, run_id, _numbered(show, total - left + 1, total))
        before, left = left, _waiting(settings)
        total = max(total, left)
        fruitless = 0 if left < before else fruitless + 1
        if state == "failed":
            show(
                f"run {run_id} failed at {airflow.failed_task(INGEST, run_id)}: see its log in Airflow"
            )
        if fruitless > FRUITLESS_RUNS:
            raise AirflowFailed(_explain(airflow, INGEST, run_id))
    return total


def _waiting(settings: StackSettings) -> int:
    """Return how many builds wait; a Postgres that was killed is back within seconds, so ask again."""
    deadline = time.monotonic() + SECONDS_FOR_POSTGRES
    while True:
        try:
            return claims.count_waiting(settings)
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _numbered(show: Show, number: int, total: int) -> Show:
    return lambda news: show(f"batch {number} of {total}, {news}")


def train(airflow: Airflow, settings: StackSettings, show: Show, published: int) -> None:
    """Follow the training that the Asset starts; start one when no model is in production and none is under way.

    Raises:
        AirflowFailed: the training failed, or promoted nothing while nothing is in production; the message says why.
    """
    run_id = _asset_run(airflow, show) if published else _active(airflow)
    if run_id is None and not in_production(settings):
        run_id = airflow.trigger(TRAIN)
    if run_id and follow(airflow, TRAIN, run_id, show) != "success":
        raise AirflowFailed(_explain(airflow, TRAIN, run_id))
    if not in_production(settings):
        raise AirflowFailed(
            f"no model was promoted, so none can be served: {_last_decision(settings)}"
        )


def _last_decision(settings: StackSettings) -> str:
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select challenger_version, reason from ops.promotions order by promotion_id desc limit 1"
        )
        found = cur.fetchone()
    return f"version {found[0]}: {found[1]}" if found else "training has not judged any"


def follow(airflow: Airflow, dag_id: str, run_id: str, show: Show) -> str:
    """Wait for the end of a run; returns its state."""
    while (state := str(airflow.run(dag_id, run_id)["state"])) in ACTIVE:
        show(airflow.task_progress(dag_id, run_id))
        time.sleep(1)
    return state


def in_production(settings: StackSettings) -> str | None:
    """Return the version that the alias `production` points at, or None."""
    asked = {"name": settings.model_name, "alias": "production"}
    address = f"{settings.mlflow_tracking_uri}/api/2.0/mlflow/registered-models/alias"
    answer = httpx.get(address, params=asked, auth=settings.mlflow_login(), timeout=30)
    return str(answer.json()["model_version"]["version"]) if answer.is_success else None


def current_or_new(airflow: Airflow, dag_id: str) -> str:
    """Return the run that is under way, or that of a new one."""
    active = airflow.active(dag_id)
    return str(active[-1]["dag_run_id"]) if active else airflow.trigger(dag_id)


def _active(airflow: Airflow) -> str | None:
    active = airflow.active(TRAIN)
    return str(active[-1]["dag_run_id"]) if active else None


def _asset_run(airflow: Airflow, show: Show) -> str | None:
    """Wait for the run that the last published batch starts."""
    deadline = time.monotonic() + SECONDS_FOR_ASSET
    while time.monotonic() < deadline:
        if found := _active(airflow):
            return found
        show("waiting for the Asset training_ready to start it")
        time.sleep(1)
    return None


def _explain(airflow: Airflow, dag_id: str, run_id: str) -> str:
    task = airflow.failed_task(dag_id, run_id)
    return f"{dag_id} failed at the task {task or '(none ran)'} (run {run_id}); its log is in Airflow's grid"


@explained
def main() -> int:
    """Command line: publish what is waiting, then train."""
    settings, progress = stack_settings(), Progress()
    try:
        airflow = Airflow(settings)
        with progress.phase("reading the DAG files"):
            unpause(airflow, progress.show)
        with progress.phase("publishing batches"):
            published = publish_waiting(airflow, settings, progress.show)
        with progress.phase("training"):
            train(airflow, settings, progress.show, published)
    except AirflowFailed as error:
        progress.error(str(error))
        return 1
    progress.console.print(
        f"{published} batches were waiting; version {in_production(settings)} is in production"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
