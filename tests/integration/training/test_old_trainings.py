"""What old trainings have left is removed from MLflow and the object store, unless a version names
it: on real MLflow, Postgres and S3.
"""

import os
from datetime import UTC, datetime, timedelta

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from readmit import storage
from readmit.ops import old_trainings
from readmit.settings import StackSettings, TrainingRetentionSettings
from tests.support import raw, services

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=500)
DAY_IN_MS = 86_400_000
NAME = "old-trainings"
VARIABLES = (
    "PGHOST",
    "PGPORT",
    "PGPASSWORD",
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)


def retention(settings: StackSettings, **changes: object) -> TrainingRetentionSettings:
    names = TrainingRetentionSettings.model_fields
    values = {name: value for name, value in settings.model_dump().items() if name in names}
    return TrainingRetentionSettings(**(values | changes))


@pytest.fixture(scope="module")
def stack(mlflow_server):
    return mlflow_server


@pytest.fixture(scope="module")
def client(stack):
    """MLflow by its database, as the program reaches it; its own settings of the process."""
    address = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.setenv(name, "")  # restored at the end
        yield old_trainings.connect(retention(stack))
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)


@pytest.fixture(scope="module")
def experiment(client):
    return client.create_experiment(NAME, artifact_location=f"s3://mlflow/{NAME}")


def run(client: MlflowClient, experiment: str, ended: datetime, **tags: str) -> str:
    """Make a run that ended at a time, with an artefact and a model."""
    milliseconds = int(ended.timestamp() * 1000)
    info = client.create_run(experiment, start_time=milliseconds, tags=tags).info
    client.log_text(info.run_id, "card", "model_card.md")
    client.set_terminated(info.run_id, end_time=milliseconds)
    return info.run_id


def model(client: MlflowClient, experiment: str, run_id: str, stack: StackSettings) -> str:
    """Log a model of a run, with a file."""
    logged = client.create_logged_model(experiment, source_run_id=run_id)
    bucket, _, prefix = logged.artifact_location.removeprefix("s3://").partition("/")
    storage.client("trainer", stack).put_object(Bucket=bucket, Key=f"{prefix}/MLmodel", Body=b"x")
    return logged.model_id


def objects_of(name: str, stack: StackSettings) -> list[str]:
    listed = storage.client("trainer", stack).list_objects_v2(
        Bucket=stack.s3_mlflow_bucket, Prefix=NAME
    )
    keys = [entry["Key"] for entry in listed.get("Contents", [])]
    return [key for key in keys if name in key]


def age_deletion(table: str, column: str, key: str, value: str, stack: StackSettings) -> None:
    """Put a deletion back by 31 days."""
    raw.query(
        stack,
        "mlflow",
        f"update {table} set {column} = {column} - {31 * DAY_IN_MS} where {key} = '{value}'",
        role="mlflow",
    )


def test_a_run_goes_with_its_files_unless_a_version_names_it(stack, client, experiment):
    named = run(client, experiment, LONG_AGO)
    named_model = model(client, experiment, named, stack)
    client.create_registered_model(NAME)
    client.create_model_version(NAME, f"models:/{named_model}", named, model_id=named_model)
    young = run(client, experiment, NOW)
    parent = run(client, experiment, LONG_AGO)
    client.set_tag(young, "mlflow.parentRunId", parent)
    old = run(client, experiment, LONG_AGO)
    old_model = model(client, experiment, old, stack)
    settings = retention(stack)

    assert old_trainings.remove(settings).runs == 1
    stages = {}
    for run_id in (named, young, parent, old):
        stages[run_id] = client.get_run(run_id).info.lifecycle_stage
    assert stages == {named: "active", young: "active", parent: "active", old: "deleted"}
    assert objects_of(old, stack)  # a person may restore it for 30 days

    age_deletion("runs", "deleted_time", "run_uuid", old, stack)
    age_deletion("logged_models", "last_updated_timestamp_ms", "model_id", old_model, stack)
    assert old_trainings.remove(settings).runs == 0
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(old)
    assert objects_of(old, stack) == []
    assert objects_of(old_model, stack) == []
    assert objects_of(named, stack)
    assert objects_of(named_model, stack)
    assert client.get_model_version(NAME, "1").run_id == named


def test_a_snapshot_goes_when_no_version_and_no_run_names_it(stack, client, experiment):
    bucket = f"p{os.urandom(4).hex()}"
    own = stack.model_copy(
        update={"s3_pipeline_bucket": bucket, **services.keys_of_admin("trainer")}
    )
    s3 = storage.client("admin", own)
    s3.create_bucket(Bucket=bucket)
    run(client, experiment, NOW, snapshot="of-a-run")
    deleted = run(client, experiment, NOW, snapshot="of-a-deleted-run")
    client.delete_run(deleted)
    client.create_registered_model(f"{NAME}-2")
    source = run(client, experiment, NOW)
    client.create_model_version(
        f"{NAME}-2", f"runs:/{source}/model", source, tags={"snapshot": "of-a-version"}
    )
    names = ("of-a-run", "of-a-deleted-run", "of-a-version", "of-nothing")
    for name in names:
        for suffix in ("parquet", "sealed.parquet", "json"):
            s3.put_object(Bucket=bucket, Key=f"snapshots/{name}.{suffix}", Body=b"x")
    settings = retention(own)
    assert old_trainings.remove_snapshots(NOW - timedelta(days=1), settings) == 0
    assert old_trainings.remove_snapshots(NOW + timedelta(days=1), settings) == 1
    left = {entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert {key.split("/")[1].split(".")[0] for key in left} == set(names) - {"of-nothing"}
    for key in left:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)
