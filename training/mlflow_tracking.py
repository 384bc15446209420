"""MLflow: runs, models and the registry. The only module that talks to it."""

import hashlib
import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract, ContractError
from readmit.inference.compiled_model import CompiledModel
from readmit.settings import ROOT
from training import features
from training.compilation import TOLERANCE
from training.model_metrics import Figure
from training.snapshots import Facts
from training.training_settings import TrainingSettings

FloatArray = NDArray[np.float64]

PRODUCTION, PREVIOUS = "production", "previous"
STAGE = "Production"
# What says that a model cannot be judged, whenever it is tried again. Faults of the network are not among them.
BROKEN = (ContractError, KeyError, ValueError, TypeError, AttributeError, FileNotFoundError)
BROKEN_CODES = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"}
# What skops may load beside numpy and scikit-learn; each is reviewed: boosters are data that their library reads.
TRUSTED_TYPES = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "catboost.core.CatBoostClassifier",
    "numpy.asarray",
    "numpy.dot",
    "numpy.interp",
    "numpy.rint",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
]


@contextmanager
def reaching(settings: TrainingSettings) -> Iterator[MlflowClient]:
    """Point MLflow at the tracking server and its artifacts at our object store, for this process."""
    os.environ["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
    os.environ["AWS_ACCESS_KEY_ID"] = settings.aws_access_key_id
    os.environ["AWS_SECRET_ACCESS_KEY"] = settings.aws_secret_access_key.get_secret_value()
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault(
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"
    )  # a bar is noise in a log
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    mlflow.set_registry_uri(settings.mlflow_tracking_uri)
    with warnings.catch_warnings():
        # Stages are deprecated in favour of aliases; we keep both in step because users ask for the stage.
        warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow|training")
        yield MlflowClient()


def is_broken(error: Exception) -> bool:
    """Return whether an error is about the model itself, so that trying again gives the same."""
    if isinstance(error, MlflowException):
        return error.error_code in BROKEN_CODES
    return isinstance(error, BROKEN)


def git_sha() -> str:
    """Return the commit that runs: `GIT_SHA` in an image, git's answer in a checkout, else `unknown`."""
    if said := os.environ.get("GIT_SHA"):
        return said
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def lock_hash() -> str:
    """Return the sha256 of the lock file: which versions of which packages fitted the model."""
    lock = ROOT / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "unknown"


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
    """Log the Pipeline of the active run with signature and input example; returns its model id."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*integer column.*")
        info = mlflow.sklearn.log_model(pipeline, name="model", **form(contract, example))
    return str(info.model_id)


def form(contract: Contract, example: pd.DataFrame) -> dict[str, Any]:
    """Return how a Pipeline is stored: signature, input example, and what may be loaded from it."""
    return {
        "signature": features.signature(contract),
        "input_example": example[features.columns(contract)],
        "pyfunc_predict_fn": "predict_proba",
        "skops_trusted_types": TRUSTED_TYPES,
        "pip_requirements": [],  # the lock file of the repository says it all; its hash is a tag
    }


def load_pipeline(model_id: str) -> Pipeline:
    """Load a logged Pipeline as scikit-learn object."""
    return mlflow.sklearn.load_model(f"models:/{model_id}")


def scores(name: str, version: str, frame: pd.DataFrame) -> FloatArray:
    """Score a frame through the exact registered artefact (pyfunc, signature enforced), shape (n,).

    Raises:
        MlflowException: the artefact is gone or the frame does not have its columns.
        KeyError: the frame lacks a column of the signature.
        ValueError: it does not give the probabilities of the classes 0 and 1, in this order.
    """
    model = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
    given = np.asarray(
        model.predict(frame[model.metadata.get_input_schema().input_names()]), dtype=np.float64
    )
    if given.shape != (len(frame), 2):
        raise ValueError(f"version {version} gives shape {given.shape}, not ({len(frame)}, 2)")
    classes = [int(value) for value in model.get_raw_model().classes_]
    if classes != [0, 1]:
        raise ValueError(f"version {version} orders its classes {classes}, not [0, 1]")
    return given[:, 1]


def check_bundle(name: str, version: str, contract: Contract) -> None:
    """Check what the API will check: the contract that was trained on is there, and the compiled form agrees.

    Raises:
        ContractError, ValueError, OSError, MlflowException: it is missing, another, or differs.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(
            mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=temporary)
        )
        compiled = CompiledModel.load(folder)
        if Contract.from_json((folder / "contract.json").read_text()).hash != contract.hash:
            raise ValueError(
                f"version {version} holds another contract than the data that it was trained on"
            )
        stored = json.loads((folder / "examples.json").read_text())
        given = compiled.predict_many(stored["rows"])
    worst = max(abs(a - b) for a, b in zip(given, stored["probabilities"], strict=True))
    if not worst <= TOLERANCE:
        raise ValueError(
            f"version {version}: its compiled form differs by {worst:.2e} on the stored examples"
        )


def count_reading(client: MlflowClient, name: str) -> int:
    """Count one more reading of the sealed test, on the registered model; returns how many there were."""
    reads = int(client.get_registered_model(name).tags.get("sealed_test_reads", "0")) + 1
    client.set_registered_model_tag(name, "sealed_test_reads", str(reads))
    return reads


def log_sealed(
    client: MlflowClient, version: ModelVersion, scored: Mapping[str, Figure], reads: int
) -> None:
    """Log the figures of the sealed test to the run of a version, and mark the version as scored."""
    run_id = str(version.run_id)
    for name, figure in scored.items():
        for key, value in (
            ("", figure["figure"]),
            ("_low", figure["low"]),
            ("_high", figure["high"]),
        ):
            client.log_metric(run_id, f"test_{name}{key}", value)
    client.log_dict(run_id, {"reads": reads, "metrics": dict(scored)}, "sealed_test.json")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    for key, text in (
        ("sealed_test_scored_at", moment),
        ("test_auroc", f"{scored['auroc']['figure']:.4f}"),
    ):
        client.set_model_version_tag(version.name, version.version, key, text)


def add_files(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Put a bundle beside the logged Pipeline."""
    client.log_model_artifacts(model_id, str(folder))


def register(
    client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str]
) -> str:
    """Register a logged model once; a second call returns the version that it has."""
    for known in versions(client, name):
        if known.run_id == run_id:
            return str(known.version)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # The client waits until the version is ready.
    made = client.create_model_version(
        name, f"models:/{model_id}", run_id=run_id, tags=dict(tags), model_id=model_id
    )
    return str(made.version)


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return all versions, newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    return sorted(found, key=lambda version: -int(version.version))


def version_at(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version that an alias names, or None when nobody has it."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def put_in_production(client: MlflowClient, name: str, version: str) -> None:
    """Move the alias `production` (and the stage) to a version; what was there becomes `previous`. Repeatable."""
    before = version_at(client, name, PRODUCTION)
    if before is not None and str(before.version) != version:
        client.set_registered_model_alias(name, PREVIOUS, before.version)
    client.set_model_version_tag(
        name, version, "promoted_at", datetime.now(UTC).isoformat(timespec="seconds")
    )
    client.set_registered_model_alias(name, PRODUCTION, version)
    client.transition_model_version_stage(name, version, STAGE, archive_existing_versions=True)
