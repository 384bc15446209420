"""Training on real MLflow, S3 and Postgres: from a snapshot to production, roll-back, and models
that must not pass.
"""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import mlflow
import nbclient
import nbformat
import pytest
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from readmit import db, storage
from readmit.inference import signatures
from readmit.settings import ROOT, StackSettings
from serving.api_settings import ServingSettings
from serving.instruments import Metrics
from serving.model_registry import Registry
from serving.watcher import Watcher
from stack import programs
from tests.support import services
from tests.support.training import make_rows
from training import (
    features,
    jobs,
    learning_curves,
    mlflow_tracking,
    promotions,
    rollback,
    signed_models,
    snapshots,
)
from training.snapshots import Facts, Snapshot
from training.training_settings import TrainingSettings

NAME = "readmission"


@pytest.fixture(scope="module")
def settings(mlflow_server):
    """Settings of the running services, also in the environment, where MLflow reads them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.environment(mlflow_server).items():
            if name.isupper():
                patch.setenv(name, value)
        patch.setenv("READMIT_TRAINING_CANDIDATES", "logistic")
        patch.setenv("READMIT_TRAINING_THREADS", "1")
        patch.setenv("READMIT_BOOTSTRAP_REPLICATES", "100")
        patch.setenv("READMIT_PROMOTION_FLOOR", "0.55")
        yield TrainingSettings()


def freeze(contract, settings, fingerprint, seed=0):
    rows = make_rows(contract, seed=seed)
    counts = rows["split"].value_counts()
    facts = Facts(
        fingerprint=fingerprint,
        data_source="sample",
        batches=sorted(rows["_batch_id"].unique()),
        n_train=int(counts["train"]),
        n_validation=int(counts["validation"]),
        n_test=int(counts["test"]),
        n_excluded=0,
        n_quarantined=0,
    )
    snapshots.store(Snapshot(facts, contract, rows), settings)
    return fingerprint


def train(snapshot_id, settings, candidate="logistic"):
    return jobs.register_best([jobs.fit(snapshot_id, candidate, settings)], settings)


def copy_of(version, settings):
    """Register the files of a version as one more version, as if another run had fitted it.

    To train again takes ten times as long, and the tests that need a version do not need another
    model.
    """
    with mlflow_tracking.reaching(settings) as client:
        original = client.get_model_version(NAME, version)
        run = client.get_run(original.run_id)
        experiment_id = run.info.experiment_id
        run_id = client.create_run(experiment_id).info.run_id
        model_id = client.create_logged_model(experiment_id, source_run_id=run_id).model_id
        with signed_models.verified(NAME, version, settings) as folder:
            (folder / signatures.FILE_NAME).unlink()
            mlflow_tracking.add_files(client, model_id, folder)
        client.finalize_logged_model(model_id, "READY")
        tags = dict(original.tags.items() & run.data.tags.items())  # no decision
        copy = mlflow_tracking.register(client, NAME, model_id, run_id, tags)
        signed_models.sign_version(client, NAME, copy, signed_models.REGISTRATION, settings)
        return copy


def rows_of(settings, version):
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select decision, reason from ops.promotions where challenger_version = %s order by 1",
            (version,),
        )
        return cur.fetchall()


@pytest.fixture(scope="module")
def first(contract, settings):
    """The first version: trained, registered and in production."""
    version = train(freeze(contract, settings, "f" * 64), settings)
    assert jobs.decide(version, settings) == version
    return version


def production(settings):
    with mlflow_tracking.reaching(settings) as client:
        version = mlflow_tracking.version_at(client, NAME, mlflow_tracking.PRODUCTION)
        if version is None:
            return None
        return str(version.version)


def test_fits_that_create_the_experiment_at_once_all_log_to_it(settings, monkeypatch):
    """MLflow did not make it active in the slower process, whose run went to `Default`."""
    find = TrackingServiceClient.get_experiment_by_name

    def find_just_before_another_process_creates_it(client, name):
        experiment = find(client, name)
        if experiment is None:
            client.create_experiment(name)
        return experiment

    with mlflow_tracking.reaching(settings):
        mlflow.set_experiment(experiment_id="0")
        monkeypatch.setattr(
            TrackingServiceClient,
            "get_experiment_by_name",
            find_just_before_another_process_creates_it,
        )
        mlflow_tracking.open_experiment("created-twice")
        with mlflow.start_run() as run:
            experiment = mlflow.get_experiment(run.info.experiment_id)
    assert experiment.name == "created-twice"


def test_fits_that_open_a_new_experiment_at_once_do_not_fail(settings):
    """MLflow refused the tag of the slower fit, whose task failed and was tried again."""
    with mlflow_tracking.reaching(settings), ThreadPoolExecutor(8) as pool:
        for number in range(5):
            name = f"opened-at-once-{number}"
            mlflow.set_experiment(name)
            list(pool.map(mlflow_tracking.open_experiment, [name] * 8))
            tags = mlflow.get_experiment_by_name(name).tags
            assert set(tags) >= {mlflow_tracking.KIND_TAG, "mlflow.note.content"}


def test_first_model_is_promoted_with_alias_stage_row_and_tags(first, settings):
    with mlflow_tracking.reaching(settings) as client:
        version = client.get_model_version_by_alias(NAME, "production")
        assert (str(version.version), version.current_stage) == (first, "Production")
        assert version.tags["decision"] == "promote"
        assert version.tags["git_sha"]
        run = client.get_run(version.run_id)
        assert run.data.metrics["validation_auroc"] > 0.55
        assert run.data.metrics["compiled_worst_difference"] <= 1e-6
        artifacts = set()
        for folder in (None, "plots"):
            for artifact in client.list_artifacts(version.run_id, folder):
                artifacts.add(artifact.path)
        assert {
            "contract.json",
            "data.json",
            "plots/roc.png",
            "plots/precision_recall.png",
            "plots/calibration.png",
        } <= artifacts
    assert [row[0] for row in rows_of(settings, first)] == ["promote"]


def test_the_metrics_of_a_run_are_those_of_its_model(first, settings):
    """Logged once for both: MLflow otherwise asks for the history of each, to copy it."""
    with mlflow_tracking.reaching(settings) as client:
        run = client.get_run(client.get_model_version(NAME, first).run_id)
        model = client.get_logged_model(run.data.tags["model_id"])
    of_model = {metric.key: metric.value for metric in model.metrics}
    assert of_model["validation_auroc"] > 0.55
    assert len(of_model) > 20
    assert of_model.items() <= run.data.metrics.items()
    assert run.data.tags["candidate"] == "logistic"
    assert run.data.tags["snapshot"] == "f" * 64


def test_mlflow_opens_at_the_training_runs_and_shows_the_model_card(first, settings):
    with mlflow_tracking.reaching(settings) as client:
        experiment = client.get_experiment_by_name(jobs.EXPERIMENT)
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        version = client.get_model_version(NAME, first)
        assert version.description.startswith("# Model card: logistic")
        assert client.get_registered_model(NAME).description == version.description
        mlflow_tracking.describe_version(client, NAME, first, "line\n" * 2000)
        long = client.get_model_version(NAME, first).description
        assert len(long) <= mlflow_tracking.MAX_DESCRIPTION
        assert long.endswith("line\n\nShortened: `model_card.md` of the run has all of it.")


def test_the_learning_curve_comes_after_the_promotion_and_once(first, settings):
    points = learning_curves.publish(first, settings)
    assert points[-1]["auroc"] > 0.5
    assert learning_curves.publish(first, settings) == []
    with mlflow_tracking.reaching(settings) as client:
        version = client.get_model_version(NAME, first)
        assert json.loads(version.tags["learning_curve"]) == points
    s3 = storage.client("gates", settings)
    key = {"Bucket": settings.s3_pipeline_bucket, "Key": f"docs/models/{first}/index.html"}
    page = s3.get_object(**key)["Body"].read().decode()
    assert 'src="learning_curve.png"' in page
    assert 'src="roc.png"' in page


def test_repeating_a_task_changes_nothing(first, settings):
    with mlflow_tracking.reaching(settings) as client:
        run_id = client.get_model_version(NAME, first).run_id
    assert jobs.register_best([run_id], settings) == first
    assert jobs.decide(first, settings) == first
    assert len(rows_of(settings, first)) == 1


def test_sealed_test_is_read_once(first, settings):
    assert jobs.score_sealed(first, settings)["auroc"]["figure"] > 0.5
    assert jobs.score_sealed(first, settings) == {}
    with mlflow_tracking.reaching(settings) as client:
        assert client.get_registered_model(NAME).tags["sealed_test_reads"] == "1"


def test_the_api_serves_what_was_registered(first, settings, tmp_path):
    watcher = Watcher(Registry(ServingSettings()), tmp_path, 10, Metrics())
    watcher.check()
    assert watcher.refused is None
    assert watcher.served is not None, watcher.registry
    assert watcher.served.version.version == first
    assert watcher.served.certainty is not None  # every file of the bundle has come
    with mlflow_tracking.reaching(settings) as client:
        run = client.get_run(watcher.served.version.run_id)
        assert json.loads(watcher.served.description)["experiment_id"] == run.info.experiment_id
        client.set_registered_model_alias(NAME, "challenger", first)
        watcher.check()
        assert watcher.standbys == {}  # production cannot challenge itself
        client.delete_registered_model_alias(NAME, "challenger")


def test_an_equal_model_is_kept_and_production_stays(first, contract, settings):
    version = train("f" * 64, settings)
    assert version != first
    assert jobs.decide(version, settings) is None
    assert production(settings) == first
    assert [row[0] for row in rows_of(settings, version)] == ["keep"]
    with mlflow_tracking.reaching(settings) as client:
        by_time = client.get_model_version(NAME, version).tags["by_time"]
    assert "the same recipe" in by_time
    with pytest.raises(rollback.CannotRollBack, match="never promoted"):
        rollback.rollback(version, settings)


def stored(settings, version, name):
    """Return where a file of a registered model lies in the object store."""
    with mlflow_tracking.reaching(settings) as client:
        model_id = client.get_model_version(NAME, version).source.removeprefix("models:/")
        location = client.get_logged_model(model_id).artifact_location
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{name}"}


@pytest.mark.parametrize("lost", ["contract.json", "compiled/model.onnx", "MLmodel"])
def test_a_model_that_lost_a_file_is_refused(first, settings, lost):
    version = copy_of(first, settings)
    storage.client("trainer", settings).delete_object(**stored(settings, version, lost))
    with pytest.raises(jobs.ModelRefused, match="judging failed"):
        jobs.decide(version, settings)
    assert production(settings) == first
    assert [row[0] for row in rows_of(settings, version)] == ["keep"]


def test_a_broken_signature_is_refused(first, contract, settings):
    version = copy_of(first, settings)
    store = storage.client("trainer", settings)
    key = stored(settings, version, "MLmodel")
    content = store.get_object(**key)["Body"].read().decode()
    name = contract.features[0].name
    assert name in content
    store.put_object(**key, Body=content.replace(f'"{name}"', '"column_of_nobody"').encode())
    # Signed as it is now: a changed file alone would be refused before its columns are read.
    with mlflow_tracking.reaching(settings) as client:
        registration = signed_models.REGISTRATION
        signed_models.sign_version(client, NAME, version, registration, settings)
    with pytest.raises(jobs.ModelRefused, match="column_of_nobody"):
        jobs.decide(version, settings)
    assert production(settings) == first
    assert [row[0] for row in rows_of(settings, version)] == ["keep"]


def test_nothing_is_promoted_when_the_artefact_of_production_is_gone(first, settings):
    version = copy_of(first, settings)
    store = storage.client("trainer", settings)
    key = stored(settings, first, "MLmodel")
    content = store.get_object(**key)["Body"].read()
    store.delete_object(**key)
    try:
        with pytest.raises(jobs.ModelRefused, match="judging failed"):
            jobs.decide(version, settings)
        assert production(settings) == first
        assert [row[0] for row in rows_of(settings, version)] == ["keep"]
    finally:
        store.put_object(**key, Body=content)


def test_classes_in_another_order_are_refused(first, settings, monkeypatch):
    version = copy_of(first, settings)
    scores = mlflow_tracking.scores_of

    def swapped(folder, which, frame):
        probabilities = scores(folder, which, frame)
        if which == version:
            raise ValueError(f"version {which} orders its classes [1, 0], not [0, 1]")
        return probabilities

    monkeypatch.setattr(mlflow_tracking, "scores_of", swapped)
    with pytest.raises(jobs.ModelRefused, match="orders its classes"):
        jobs.decide(version, settings)
    assert production(settings) == first


def test_a_registry_that_is_away_is_retried_not_judged(first, settings, monkeypatch):
    version = copy_of(first, settings)

    def away(*_):
        raise ConnectionError("object store is away")

    monkeypatch.setattr(mlflow_tracking, "checked_scores", away)
    with pytest.raises(ConnectionError):
        jobs.decide(version, settings)
    assert rows_of(settings, version) == []
    assert production(settings) == first


def test_a_better_model_takes_over_and_rollback_brings_the_old_one_back(
    first, contract, settings, monkeypatch
):
    version = train(freeze(contract, settings, "e" * 64, seed=3), settings)
    better = replace(jobs.promotion_gate.Verdict(True, "better"), challenger_score=0.7)
    monkeypatch.setattr(jobs.promotion_gate, "judge", lambda *_, **__: better)
    assert jobs.decide(version, settings) == version
    assert production(settings) == version
    with mlflow_tracking.reaching(settings) as client:
        assert client.get_model_version(NAME, first).current_stage == "Archived"
        assert str(client.get_model_version_by_alias(NAME, "previous").version) == first
    assert rollback.rollback(None, settings) == (version, first)
    assert production(settings) == first
    latest = promotions.latest(NAME, settings)
    assert (latest.decision, latest.version) == ("rollback", first)
    assert (
        jobs.decide(version, settings) is None
    )  # repeating the old decision does not undo the roll-back
    assert production(settings) == first
    with pytest.raises(rollback.CannotRollBack, match="no version 999"):
        rollback.rollback("999", settings)
    with pytest.raises(rollback.CannotRollBack, match="in production already"):
        rollback.rollback(first, settings)


@pytest.fixture
def mart(contract, settings):
    """The mart of the role `transformer`, with the rows of the first version's snapshot."""
    rows = make_rows(contract)
    sql_types = {"str": "text", "int64": "bigint", "bool": "boolean", "float64": "double precision"}
    columns = []
    for name, dtype in features.pandas_types(contract).items():
        columns.append(f"{name} {sql_types[dtype]}")
    with (
        db.transaction("transformer", settings.clean_database, StackSettings()) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(f"create table {snapshots.MART} ({', '.join(columns)})")
        cur.copy_expert(
            f"copy {snapshots.MART} from stdin csv",
            io.StringIO(rows.to_csv(header=False, index=False)),
        )
    yield rows
    with (
        db.transaction("transformer", settings.clean_database, StackSettings()) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(f"drop table {snapshots.MART}")


def test_the_notebook_fits_logs_and_compares_with_its_own_log_ins(first, mart, settings, tmp_path):
    """In the environment of the program: nothing that the notebook lacks is in it."""
    notebook = nbformat.read(ROOT / "notebooks" / "explore.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "strip the outputs"
    stack_settings = StackSettings()
    program = programs.notebook(stack_settings)
    environment = programs.environment_of(program, stack_settings)
    environment["DBT_TARGET_PATH"] = os.environ["DBT_TARGET_PATH"]
    environment["MPLBACKEND"] = "agg"
    client = nbclient.NotebookClient(
        notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=environment)
    assert notebook.cells[1].outputs == []  # no warning of a library
    # The same candidate on the same rows as the version in production.
    assert notebook.cells[-1].outputs[0].text == (
        "the gate would keep: not shown to be better: gain +0.0000, lower bound +0.0000\n"
    )
    train_rows = int((mart["split"] == "train").sum())
    assert f"{train_rows:,} train" in notebook.cells[3].outputs[0].text
    with mlflow_tracking.reaching(settings) as client:
        experiment = client.get_experiment_by_name("readmission-notebook")
        assert experiment.tags["mlflow.note.content"].startswith(
            "Trials in notebooks/explore.ipynb"
        )
        [run] = client.search_runs([experiment.experiment_id])
        in_production = client.get_run(client.get_model_version(NAME, first).run_id)
        for metric in ("validation_auroc", "validation_average_precision"):
            assert run.data.metrics[metric] == in_production.data.metrics[metric]
