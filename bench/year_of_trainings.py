"""What a training a week leaves in MLflow and in the bucket; a part of `bench/one_year.py`.

MLflow is reached by its database, as its nightly cleaning does; no server runs.
"""

from datetime import datetime, timedelta

import mlflow
from mlflow import MlflowClient

from bench.dated_objects import dated_by_key, objects_below
from bench.figure import Figure
from readmit import db, storage
from readmit.ops import old_trainings
from readmit.settings import StackSettings, TrainingRetentionSettings

CANDIDATES = ("logistic", "lightgbm")
FILE_KB = 400  # of a run
SNAPSHOT_KB = 4_000
N_METRICS = 60
NAME = "readmission"
WEEK = timedelta(days=7)
# `mlflow gc` reads the clock itself, so deletions are put back by the time between two cleanings.
PUT_BACK = """
    update runs set deleted_time = deleted_time - %(ms)s where lifecycle_stage = 'deleted';
    update logged_models set last_updated_timestamp_ms = last_updated_timestamp_ms - %(ms)s
"""


def measure(settings: StackSettings, end: datetime, days: int) -> list[Figure]:
    """Train each week for the time that runs are kept and some days, and clean each month.

    Args:
        settings: Postgres and S3 of the bench's own.
        end: when the time ends.
        days: how many days lie between the first removal and the end.
    """
    # It imports MLflow's server, which is slow, and not needed to list the figures.
    from readmit.ops import mlflow_users

    mlflow_users.set_up(settings)
    names = set(TrainingRetentionSettings.model_fields)
    retention = TrainingRetentionSettings(**settings.model_dump(include=names, exclude_none=True))
    client = old_trainings.connect(retention)
    experiment = client.create_experiment("of-a-year", "s3://mlflow/of-a-year")
    client.create_registered_model(NAME)
    n_kept = retention.readmit_training_retention_days
    day = end - timedelta(days=n_kept + days)
    cleaned = day
    n_trainings = 0
    with dated_by_key():
        while day < end:
            _train(client, experiment, day, settings)
            n_trainings += 1
            day += WEEK
            if day - cleaned >= timedelta(days=30):
                old_trainings.remove(retention, day)
                milliseconds = int((day - cleaned).total_seconds() * 1000)
                with db.transaction("mlflow", "mlflow", settings) as tables:
                    tables.cursor().execute(PUT_BACK, {"ms": milliseconds})
                cleaned = day
    n_runs = len(mlflow.search_runs([experiment], run_view_type=3, output_format="list"))
    n_mb = sum(size for _, size in objects_below("of-a-year/", settings.s3_mlflow_bucket, settings))
    snapshots = objects_below("snapshots/", settings.s3_pipeline_bucket, settings)
    # A version each week is kept, and the other candidates for their time and two cleanings.
    others = (len(CANDIDATES) - 1) * (n_kept + 90) / 7
    detail = (
        f"{n_trainings} trainings of {len(CANDIDATES)} candidates in {n_kept + days} days;"
        f" each has a version, whose {len(snapshots)} snapshots stay; {n_mb / 1e6:.0f} MB of files"
    )
    goal = f"<= {n_trainings + others:.0f}"
    return [Figure("year_mlflow_runs", n_runs, "runs", goal, detail)]


def _train(client: MlflowClient, experiment: str, day: datetime, settings: StackSettings) -> None:
    """Write what a training leaves: runs with files, a snapshot, a version of the best run."""
    milliseconds = int(day.timestamp() * 1000)
    snapshot = f"{day:%Y-%m-%d}"
    storage.client("trainer", settings).put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"snapshots/{snapshot}.parquet",
        Body=bytes(SNAPSHOT_KB * 1_000),
    )
    for candidate in CANDIDATES:
        tags = {"snapshot": snapshot, "candidate": candidate}
        run = client.create_run(experiment, start_time=milliseconds, tags=tags).info
        metrics = [
            mlflow.entities.Metric(f"metric_{number}", 0.5, milliseconds, 0)
            for number in range(N_METRICS)
        ]
        client.log_batch(run.run_id, metrics=metrics)
        client.log_text(run.run_id, "x" * FILE_KB * 1_000, "model/MLmodel")
        client.set_terminated(run.run_id, end_time=milliseconds)
    client.create_model_version(
        NAME, f"{run.artifact_uri}/model", run.run_id, tags={"snapshot": snapshot}
    )
