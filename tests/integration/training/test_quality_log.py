"""What `make quality` measures arrives in a real MLflow: every number, and the document."""

import json
import math

import mlflow
import pytest
from botocore.exceptions import ClientError
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from readmit import storage
from tests.support import services
from tests.support.training import make_rows
from training import baselines, candidates, mlflow_tracking, quality
from training.training_settings import MonitorSettings

NAME = "judged-by-quality"
PLOTS = {"slices", "decay", "retraining", "capacity", "net_benefit"}


@pytest.fixture(scope="module")
def settings(mlflow_server, tmp_path_factory):
    environment = {k: v for k, v in services.environment(mlflow_server).items() if k.isupper()}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("READMIT_BOOTSTRAP_REPLICATES", "100")
        patch.setenv("READMIT_MODEL_NAME", NAME)
        yield MonitorSettings(readmit_home=tmp_path_factory.mktemp("quality"))


@pytest.fixture(scope="module")
def document(contract, settings):
    def small(contract, seed, threads):
        numbers = ColumnTransformer([("numbers", "passthrough", ["n_inpatient_visits"])])
        return Pipeline([("numbers", numbers), ("model", LogisticRegression())])

    mart = quality.Mart(contract, make_rows(contract, 3000), "a fingerprint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(candidates.CANDIDATES, "small", small)
        patch.setattr(baselines, "models", lambda contract, settings: {})
        return quality.measure("small", mart, settings, lambda text: None)


def test_every_number_and_the_document_are_logged(document, settings):
    quality.log(document, settings)
    with mlflow_tracking.reaching(settings) as client:
        experiment = client.get_experiment_by_name(quality.EXPERIMENT)
        (run,) = client.search_runs([experiment.experiment_id], max_results=5)
        logged = run.data.metrics
        plots = {item.path for item in client.list_artifacts(run.info.run_id, "plots")}
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/quality.json")
    assert plots == {f"plots/rolling_{name}.png" for name in PLOTS}
    numbers = quality.flat(document)
    assert len(numbers) > 1000  # more than MLflow takes in one request
    assert logged.keys() == numbers.keys()
    assert all(math.isclose(logged[name], numbers[name], abs_tol=1e-9) for name in numbers)
    assert json.loads(text) == quality.without_nan(document)


def test_steps_of_published_approaches_are_names_that_mlflow_takes(settings):
    numbers = quality.flat({"published": {"of these, other patients (2 %)": {"n": 5}}})
    with mlflow_tracking.reaching(settings) as client:
        mlflow_tracking.open_experiment(quality.EXPERIMENT, quality.NOTE)
        with mlflow.start_run() as run:
            mlflow.log_metrics(numbers)
        logged = client.get_run(run.info.run_id).data.metrics
    assert logged == {"published/of these other patients 2 /n": 5}


def put_in_production(candidate, settings):
    """Register a version that has a card and no model, and return its number."""
    with mlflow_tracking.reaching(settings) as client:
        run_id = client.create_run("0").info.run_id
        client.log_text(run_id, "# Model card\n\nFor a test.\n", "model_card.md")
        if not client.search_registered_models(f"name = '{NAME}'"):
            client.create_registered_model(NAME)
        version = client.create_model_version(
            NAME, f"runs:/{run_id}/model", run_id, tags={"candidate": candidate}
        )
        client.set_registered_model_alias(NAME, mlflow_tracking.PRODUCTION, version.version)
    return version.version


def test_the_page_of_the_version_in_production_gets_the_figures(document, settings):
    s3 = storage.client("gates", settings)

    def stored(name):
        return s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=f"docs/models/{name}")

    of_another_recipe = put_in_production("other", settings)
    # Another test's model of this number may have a page.
    of_another_test = f"docs/models/{of_another_recipe}/index.html"
    s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=of_another_test)
    quality.log(document, settings)
    of_the_recipe = put_in_production("small", settings)
    quality.log(document, settings)
    page = stored(f"{of_the_recipe}/index.html")["Body"].read().decode()
    assert "For a test." in page
    for name in PLOTS:
        assert f'src="rolling_{name}.png"' in page
        assert stored(f"{of_the_recipe}/rolling_{name}.png")["ContentType"] == "image/png"
    with pytest.raises(ClientError, match="NoSuchKey"):
        stored(f"{of_another_recipe}/index.html")
