"""MLflow: runs, models and the registry."""

import hashlib
import json
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import boto3
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from readmit import storage
from readmit.contract.definition import Contract, ContractError
from readmit.inference.compiled_model import CompiledModel
from readmit.inference.signatures import NotSigned
from readmit.settings import ROOT, ModelVerification
from training import features, registry_markup, signed_models
from training.compilation import TOLERANCE
from training.model_metrics import Estimate
from training.snapshots import Facts
from training.training_settings import TrainingSettings

FloatArray = NDArray[np.float64]

PRODUCTION = "production"
PREVIOUS = "previous"
STAGE = "Production"
KIND_TAG = "mlflow.experimentKind"
TRAINING_KIND = "custom_model_development"
NOTE = (
    "Candidates of the DAG `train_model`: one run per candidate and snapshot. The best one is"
    " registered; `decision` and its reason are tags of the version."
)
MAX_DESCRIPTION = 5000  # characters that the registry stores
# Errors about the model itself: judging it again gives the same error. Faults of the network are
# not among them.
BROKEN = (
    NotSigned,
    ContractError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    FileNotFoundError,
)
BROKEN_CODES = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"}


class ModelForm(TypedDict):
    """How MLflow stores a Pipeline."""

    signature: ModelSignature
    input_example: pd.DataFrame
    pyfunc_predict_fn: str
    skops_trusted_types: list[str]
    pip_requirements: list[str]


@contextmanager
def reaching(settings: TrainingSettings) -> Iterator[MlflowClient]:
    """Point MLflow of this process at the tracking server and at our object store."""
    os.environ.update(storage.library_environment(settings))
    access_key, secret_key = storage.keys("trainer", settings)
    # MLflow takes the default session of boto3. That reads the environment once, at its first use,
    # so variables would not replace the keys of settings that were used before in this process.
    boto3.setup_default_session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=storage.REGION,
    )
    login = settings.mlflow_login()
    if login is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = login
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A progress bar is noise in a log.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Our own lines name the addresses that browsers reach; MLflow prints those of this machine.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    mlflow.set_registry_uri(settings.mlflow_tracking_uri)
    with warnings.catch_warnings():
        # Stages are deprecated in favour of aliases. We move both, because users ask for the stage.
        warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow|training")
        # To name a function without a module, skops asks every loaded module for it. Each old name
        # in Airflow's modules answers with a warning: 290 for each model that is stored or loaded.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"skops\.io\._utils")
        yield MlflowClient()


def open_experiment(name: str, note: str = NOTE) -> None:
    """Make an experiment the active one, and have MLflow's web page open at its training runs.

    Without a kind, MLflow 3.17 opens an empty page for traces of language models.

    Args:
        name: the experiment's.
        note: says on its page what its runs are; for a new experiment.
    """
    experiment = mlflow.set_experiment(name)
    # MLflow does not make it the active one when another process creates it at this moment.
    mlflow.set_experiment(experiment_id=experiment.experiment_id)
    if KIND_TAG in experiment.tags:
        return
    try:
        mlflow.set_experiment_tags({KIND_TAG: TRAINING_KIND, "mlflow.note.content": note})
    except MlflowException:
        # The fits of a run begin at once, and MLflow refuses the slower of two that add a tag.
        if KIND_TAG not in mlflow.get_experiment(experiment.experiment_id).tags:
            raise


def run_address(run: Run, settings: TrainingSettings) -> str:
    """Return the address of a run's page for browsers."""
    path = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"{settings.page('mlflow')}/#/{path}"


def is_broken(error: Exception) -> bool:
    """Return whether an error is about the model itself, so that a retry gives the same error."""
    if isinstance(error, MlflowException):
        return error.error_code in BROKEN_CODES
    return isinstance(error, BROKEN)


def git_sha() -> str:
    """Return the commit: `READMIT_GIT_SHA` in an image, else that of git, else `unknown`."""
    image_sha = os.environ.get("READMIT_GIT_SHA")
    if image_sha:
        return image_sha
    process = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return process.stdout.strip() or "unknown"


def lock_hash() -> str:
    """Return the sha256 of the lock file, which has the version of each package."""
    lock = ROOT / "requirements.lock"
    if not lock.exists():
        return "unknown"
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def provenance(facts: Facts, contract: Contract, seed: int) -> dict[str, str]:
    """Return the tags that make a run reproducible."""
    return {
        "data_fingerprint": facts.fingerprint,
        "data_source": facts.data_source,
        "n_batches": str(len(facts.batches)),
        "n_train": str(facts.n_train),
        "contract_hash": contract.hash,
        "git_sha": git_sha(),
        "lock_sha256": lock_hash(),
        "seed": str(seed),
    }


def log_pipeline(pipeline: Pipeline, contract: Contract, example: pd.DataFrame) -> str:
    """Log the Pipeline of the active run with signature and input example; return its model id."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*integer column.*")
        info = mlflow.sklearn.log_model(pipeline, name="model", **form(contract, example))
    return str(info.model_id)


def form(contract: Contract, example: pd.DataFrame) -> ModelForm:
    """Return how MLflow stores a Pipeline: signature, input example, and the types it may load."""
    return {
        "signature": features.signature(contract),
        "input_example": example[features.columns(contract)],
        "pyfunc_predict_fn": "predict_proba",
        "skops_trusted_types": signed_models.TRUSTED_TYPES,
        "pip_requirements": [],  # the lock file of the repository has them; its hash is a tag
    }


def load_pipeline(model_id: str) -> Pipeline:
    """Load a logged Pipeline as scikit-learn object."""
    with signed_models.logged(model_id) as folder:
        return mlflow.sklearn.load_model(str(folder))


def scores(name: str, version: str, frame: pd.DataFrame, settings: ModelVerification) -> FloatArray:
    """Score a frame by the registered artefact itself, shape (n,); raises as `scores_of` does."""
    with signed_models.verified(name, version, settings) as folder:
        return scores_of(folder, version, frame)


def scores_of(folder: Path, version: str, frame: pd.DataFrame) -> FloatArray:
    """Score a frame by a downloaded artefact (pyfunc, signature enforced), shape (n,).

    Raises: MlflowException: the artefact is missing, or the frame does not have its columns.
        KeyError: the frame lacks a column of the signature. ValueError: the artefact does not
        return the probabilities of the classes 0 and 1, in this order.
    """
    # The warnings are about requirements that the model does not name; to look for them, MLflow
    # reads the metadata of all installed packages, a second.
    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    columns = model.metadata.get_input_schema().input_names()
    by_class = np.asarray(model.predict(frame[columns]), dtype=np.float64)
    if by_class.shape != (len(frame), 2):
        raise ValueError(f"version {version} gives shape {by_class.shape}, not ({len(frame)}, 2)")
    classes = [int(value) for value in model.get_raw_model().classes_]
    if classes != [0, 1]:
        raise ValueError(f"version {version} orders its classes {classes}, not [0, 1]")
    return by_class[:, 1]


def checked_scores(
    name: str, version: str, frame: pd.DataFrame, contract: Contract, settings: ModelVerification
) -> FloatArray:
    """Check a version's bundle and score a frame by its artefact, from one download.

    Raises as `check_bundle` and `scores_of` do.
    """
    with signed_models.verified(name, version, settings) as folder:
        check_bundle(folder, version, contract)
        return scores_of(folder, version, frame)


def check_bundle(folder: Path, version: str, contract: Contract) -> None:
    """Check a downloaded bundle as the API does.

    It must have the contract that was trained on, and its compiled form must agree with the
    stored examples.

    Raises:
        ContractError: the contract cannot be read.
        ValueError: the contract is another, or the compiled form differs on the stored examples.
        OSError: a file is missing.
    """
    compiled = CompiledModel.load(folder)
    if Contract.from_json((folder / "contract.json").read_text()).hash != contract.hash:
        raise ValueError(
            f"version {version} holds another contract than the data that it was trained on"
        )
    stored = json.loads((folder / "examples.json").read_text())
    probabilities = np.array(compiled.predict_many(stored["rows"]))
    difference = np.abs(probabilities - np.array(stored["probabilities"])).max()
    if not difference <= TOLERANCE:
        raise ValueError(
            f"version {version}: its compiled form differs by {difference:.2e}"
            " on the stored examples"
        )


def count_reading(client: MlflowClient, name: str) -> int:
    """Count one more reading of the sealed test, as a tag of the registered model.

    Returns the count.
    """
    reads = int(client.get_registered_model(name).tags.get("sealed_test_reads", "0")) + 1
    client.set_registered_model_tag(name, "sealed_test_reads", str(reads))
    return reads


def log_sealed(
    client: MlflowClient, version: ModelVersion, estimates: Mapping[str, Estimate], reads: int
) -> None:
    """Log the metrics of the sealed test to the run of a version; mark the version as scored."""
    run_id = str(version.run_id)
    for name, estimate in estimates.items():
        client.log_metric(run_id, f"test_{name}", estimate["figure"])
        client.log_metric(run_id, f"test_{name}_low", estimate["low"])
        client.log_metric(run_id, f"test_{name}_high", estimate["high"])
    client.log_dict(run_id, {"reads": reads, "metrics": dict(estimates)}, "sealed_test.json")
    tags = {
        "sealed_test_scored_at": _now(),
        "test_auroc": f"{estimates['auroc']['figure']:.4f}",
    }
    for key, value in tags.items():
        client.set_model_version_tag(version.name, version.version, key, value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def add_files(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Add the files of a bundle to the logged Pipeline."""
    client.log_model_artifacts(model_id, str(folder))


def register(
    client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str]
) -> str:
    """Register a logged model once; a second call returns the version that it has."""
    for version in versions(client, name):
        if version.run_id == run_id:
            return str(version.version)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The client waits until the version is ready.
    registered = client.create_model_version(
        name, f"models:/{model_id}", run_id=run_id, tags=dict(tags), model_id=model_id
    )
    return str(registered.version)


def describe_version(client: MlflowClient, name: str, version: str, card: str) -> None:
    """Make the model card the description of a version, as much of it as the registry stores."""
    description = registry_markup.with_spaced_tables(card)
    if len(description) > MAX_DESCRIPTION:
        remark = "\n\nShortened: `model_card.md` of the run has all of it."
        start = description[: MAX_DESCRIPTION - len(remark)]
        description = start.rpartition("\n")[0] + remark
    client.update_model_version(name, version, description=description)


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return all versions, newest first."""
    unsorted = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return sorted(unsorted, key=lambda version: int(version.version), reverse=True)


def version_at(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version that has an alias, or None when no version has it."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def put_in_production(client: MlflowClient, name: str, version: str) -> None:
    """Move the alias `production` and the stage to a version.

    The version that had the alias gets `previous`. A second call changes nothing.
    """
    before = version_at(client, name, PRODUCTION)
    if before is not None and str(before.version) != version:
        client.set_registered_model_alias(name, PREVIOUS, before.version)
    client.set_model_version_tag(name, version, "promoted_at", _now())
    client.set_registered_model_alias(name, PRODUCTION, version)
    description = client.get_model_version(name, version).description
    if description:
        client.update_registered_model(name, description)
    client.transition_model_version_stage(name, version, STAGE, archive_existing_versions=True)
