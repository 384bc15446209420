"""`python -m readmit.ops.old_trainings`: remove what trainings have left and no version names.

A run of MLflow that no registered version names is marked as deleted when it is old; its snapshot
goes when no version and no run names it. `mlflow gc` then removes for good what was marked a while
ago, by us or by a person. Airflow's tasks may not delete in MLflow's database, so the clock of one
machine and a CronJob run this each night.
"""

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import mlflow
from mlflow import MlflowClient
from mlflow.cli import cli as mlflow_command
from mlflow.entities import Run, RunInfo, ViewType

from readmit import db, storage
from readmit.command import explained
from readmit.settings import TrainingRetentionSettings

URL = "postgresql+psycopg2://mlflow@/mlflow"
SNAPSHOTS = "snapshots/"
MAX_RUNS = 50_000  # at one a candidate, those of centuries
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class Removed:
    """How many runs were marked as deleted, and how many snapshots were removed."""

    runs: int
    snapshots: int


def remove(settings: TrainingRetentionSettings, now: datetime | None = None) -> Removed:
    """Remove old runs and snapshots that no registered version names.

    Killed at any point, the next call goes on.

    Args:
        settings: how long they are kept, and where Postgres and S3 are.
        now: the time; the present when it is None.
    """
    client = connect(settings)
    now = now or datetime.now(UTC)
    before = now - timedelta(days=settings.readmit_training_retention_days)
    n_runs = _mark_runs(client, before)
    garbage = f"{settings.readmit_mlflow_garbage_days}d"
    gc = ["gc", "--older-than", garbage, "--backend-store-uri", URL, "--tracking-uri", URL]
    mlflow_command(gc, standalone_mode=False)
    return Removed(n_runs, remove_snapshots(before, settings))


def connect(settings: TrainingRetentionSettings) -> MlflowClient:
    """Return a client of MLflow's database itself, for which no server has to run."""
    os.environ["PGHOST"] = settings.postgres_host
    os.environ["PGPORT"] = str(settings.postgres_port)
    os.environ["PGPASSWORD"] = db.password("mlflow", settings)
    os.environ.update(storage.library_environment(settings))
    access_key, secret_key = storage.keys("trainer", settings)
    os.environ["AWS_ACCESS_KEY_ID"] = access_key
    os.environ["AWS_SECRET_ACCESS_KEY"] = secret_key
    mlflow.set_tracking_uri(URL)
    mlflow.set_registry_uri(URL)
    return MlflowClient()


def _mark_runs(client: MlflowClient, before: datetime) -> int:
    """Mark the runs that ended before a time, and their models, as deleted; return their number.

    A run stays when a version names it or one of its models, or when it is the parent of a run that
    stays.
    """
    versions = mlflow.search_model_versions()
    named_runs = {version.run_id for version in versions}
    named_models = {version.model_id for version in versions}
    old = []
    for run in _runs(ViewType.ACTIVE_ONLY):
        last_time = run.info.end_time or run.info.start_time
        if run.info.run_id in named_runs or last_time >= before.timestamp() * 1000:
            named_runs.add(run.data.tags.get(PARENT_TAG))
        else:
            old.append(run.info)
    count = 0
    for info in old:
        models = _models_of(client, info)
        if info.run_id in named_runs or not named_models.isdisjoint(models):
            continue
        for model_id in models:
            client.delete_logged_model(model_id)
        client.delete_run(info.run_id)
        count += 1
    return count


def remove_snapshots(before: datetime, settings: TrainingRetentionSettings) -> int:
    """Remove the snapshots that were written before a time and that nothing names; count them."""
    named = {version.tags.get("snapshot") for version in mlflow.search_model_versions()}
    # A run that is marked as deleted may be restored until it is removed for good.
    named |= {run.data.tags.get("snapshot") for run in _runs(ViewType.ALL)}
    s3 = storage.client("trainer", settings)
    bucket = settings.s3_pipeline_bucket
    removed = set()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=SNAPSHOTS)
    for page in pages:
        for entry in page.get("Contents", []):
            snapshot_id = entry["Key"].removeprefix(SNAPSHOTS).partition(".")[0]
            if snapshot_id not in named and entry["LastModified"] < before:
                s3.delete_object(Bucket=bucket, Key=entry["Key"])
                removed.add(snapshot_id)
    return len(removed)


def _runs(view: int) -> list[Run]:
    """Return the runs of all experiments."""
    ids = [experiment.experiment_id for experiment in mlflow.search_experiments(ViewType.ALL)]
    runs = mlflow.search_runs(ids, run_view_type=view, max_results=MAX_RUNS, output_format="list")
    return list(runs)


def _models_of(client: MlflowClient, run: RunInfo) -> set[str]:
    """Return the ids of the models that a run has logged."""
    models = client.search_logged_models(
        [run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'"
    )
    return {model.model_id for model in models}


@explained
def main() -> int:
    """Command line."""
    removed = remove(TrainingRetentionSettings())
    print(f"{removed.runs} runs are marked as deleted, {removed.snapshots} snapshots are removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
