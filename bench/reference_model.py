"""The model that the figures of serving are about: a folder with a logged Pipeline and its bundle.

MODEL names one; else it is production of the running stack; else CatBoost is fitted here, once, on rows made up
from the contract (build/bench-model): the size of the trees is the real one, what they say is not. To fit it on rows of
a mart: `python -m bench.reference_model ROWS.parquet MANIFEST.json FOLDER`, then MODEL=FOLDER.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from bench.figure import CannotMeasure
from readmit.contract.definition import Contract
from readmit.contract.derivation import derive_row
from readmit.settings import ROOT, StackSettings

KEPT, DOWNLOADED = ROOT / "build" / "bench-model", ROOT / "build" / "bench-production"
ROWS = 15_000
SEED = 20260
Row = dict[str, Any]


@cache
def folder() -> tuple[Path, str]:
    """Return the folder of the model, and in words which one it is."""
    if given := os.environ.get("MODEL"):
        return Path(given).resolve(strict=True), "the model of MODEL"
    if found := _production():
        return found, "production of the stack"
    if not (KEPT / "examples.json").exists():
        _fit_on_made_up_rows()
    return KEPT, "CatBoost fitted on made-up rows"


def with_pipeline() -> tuple[Path, str]:
    """Return the folder of a model that has its Pipeline.

    Raises:
        CannotMeasure: MODEL is a bundle only.
    """
    found, words = folder()
    if not (found / "MLmodel").exists():
        raise CannotMeasure(
            f"{found} has no Pipeline (MLmodel): MODEL must be the folder of a logged model"
        )
    return found, words


def rows(model: Path) -> list[Row]:
    """Return stays as the API is asked about them, from lowest to highest risk: inputs and history."""
    found: list[Row] = json.loads((model / "examples.json").read_text(encoding="utf-8"))["rows"]
    return found


def full_rows(model: Path) -> list[Row]:
    """Return the same stays with every column of the Pipeline: others than the API do not derive them."""
    contract = Contract.from_json((model / "contract.json").read_text(encoding="utf-8"))
    columns = [feature.name for feature in contract.features]
    derived = [derive_row(contract, row) for row in rows(model)]
    return [{name: row[name] for name in columns} for row in derived]


def probabilities(model: Path) -> list[float]:
    """Return what the Pipeline said about them at training."""
    found: list[float] = json.loads((model / "examples.json").read_text(encoding="utf-8"))[
        "probabilities"
    ]
    return found


def fit(mart: pd.DataFrame, contract: Contract, into: Path) -> None:
    """Fit CatBoost, which wins on the real data; write a logged model with its bundle, as training does."""
    import mlflow

    from training import bundle_writer, candidates, compilation, features, mlflow_tracking

    train, validation = mart[mart["split"] == "train"], mart[mart["split"] == "validation"]
    pipeline = candidates.catboost(contract, SEED, 1)  # one thread at scoring too
    pipeline.fit(train[features.columns(contract)], features.labels(contract, train))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*integer column.*")
        mlflow.sklearn.save_model(
            pipeline, into, **mlflow_tracking.form(contract, validation.head(5))
        )
    compilation.write(pipeline, contract, validation, into)
    report = {"threshold": 0.2, "metrics": {}, "data_source": "bench"}
    (into / "report.json").write_text(json.dumps(report), encoding="utf-8")
    examples = bundle_writer.examples(pipeline, contract, validation)
    (into / "examples.json").write_text(json.dumps(examples), encoding="utf-8")


def _fit_on_made_up_rows() -> None:
    from tests.support.training import make_rows

    print(
        f"fitting a model on {ROWS:,} made-up rows into {KEPT} (a minute or two, once) ...",
        flush=True,
    )
    contract = _contract()
    fit(make_rows(contract, ROWS), contract, KEPT)


def _contract() -> Contract:
    """Return the contract as dbt parses it now."""
    dbt, project = Path(sys.executable).parent / "dbt", str(ROOT / "dbt_project")
    with tempfile.TemporaryDirectory() as target:
        command = [
            str(dbt),
            "parse",
            "--project-dir",
            project,
            "--profiles-dir",
            project,
            "--target-path",
            target,
        ]
        subprocess.run([*command, "--log-path", target], check=True, stdout=subprocess.DEVNULL)
        return Contract.from_manifest(Path(target) / "manifest.json")


def _production() -> Path | None:
    """Download production of the running stack; None when there is no stack or no production."""
    settings = StackSettings()
    try:
        httpx.get(
            f"{settings.mlflow_tracking_uri}/health", timeout=3, trust_env=False
        ).raise_for_status()
    except httpx.HTTPError:
        return None
    import mlflow

    from training import mlflow_tracking
    from training.training_settings import TrainingSettings

    with mlflow_tracking.reaching(TrainingSettings()) as client:
        if (
            mlflow_tracking.version_at(client, settings.model_name, mlflow_tracking.PRODUCTION)
            is None
        ):
            return None
        shutil.rmtree(DOWNLOADED, ignore_errors=True)
        DOWNLOADED.mkdir(parents=True)
        address = f"models:/{settings.model_name}@{mlflow_tracking.PRODUCTION}"
        return Path(mlflow.artifacts.download_artifacts(address, dst_path=str(DOWNLOADED)))


if __name__ == "__main__":
    mart, manifest, into = map(Path, sys.argv[1:])
    fit(pd.read_parquet(mart), Contract.from_manifest(manifest), into)
