"""The model that the figures of serving are about: a folder with a logged Pipeline and its bundle.

MODEL names one. Else it is production of the running stack. Else CatBoost is fitted, once, on rows
made up from the contract (build/bench-model): the trees have the real size, their predictions mean
nothing. `python -m bench.reference_model` prints the folder. To fit it on rows of a mart:
`python -m bench.reference_model ROWS.parquet MANIFEST.json FOLDER`, then MODEL=FOLDER.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from bench.figure import CannotMeasure
from bench.made_up_rows import make_rows
from readmit.contract.definition import Contract
from readmit.contract.derivation import derive_row
from readmit.settings import ROOT, StackSettings

FITTED = ROOT / "build" / "bench-model"
DOWNLOADED = ROOT / "build" / "bench-production"
ROWS = 15_000
SEED = 20260
REPLICATES = 20  # the intervals are not read
Row = dict[str, Any]  # a stay by feature, as JSON has it


@dataclass(frozen=True)
class ReferenceModel:
    """The folder of a model, and which one it is, in words."""

    folder: Path
    description: str


@cache
def find() -> ReferenceModel:
    """Return the model; fit one when there is none."""
    named = os.environ.get("MODEL")
    if named:
        return ReferenceModel(Path(named).resolve(strict=True), "the model of MODEL")
    production = _download_production()
    if production:
        return ReferenceModel(production, "production of the stack")
    if not (FITTED / "examples.json").exists():
        print(
            f"fitting a model on {ROWS:,} made-up rows into {FITTED} (a minute or two, once) ...",
            file=sys.stderr,
            flush=True,
        )
        contract = _parsed_contract()
        fit(make_rows(contract, ROWS), contract, FITTED)
    return ReferenceModel(FITTED, "CatBoost fitted on made-up rows")


def with_pipeline() -> ReferenceModel:
    """Return the model when it has its Pipeline.

    Raises:
        CannotMeasure: MODEL is a bundle only.
    """
    model = find()
    if not (model.folder / "MLmodel").exists():
        raise CannotMeasure(
            f"{model.folder} has no Pipeline (MLmodel): MODEL must be the folder of a logged model"
        )
    return model


def rows(folder: Path) -> list[Row]:
    """Return stays as requests to the API, from lowest to highest risk: inputs and history."""
    return list(_examples(folder)["rows"])


def full_rows(folder: Path) -> list[Row]:
    """Return the same stays with every column of the Pipeline: other servers do not derive them."""
    contract = Contract.from_json((folder / "contract.json").read_text(encoding="utf-8"))
    complete_rows = []
    for row in rows(folder):
        derived = derive_row(contract, row)
        complete_rows.append({feature.name: derived[feature.name] for feature in contract.features})
    return complete_rows


def probabilities(folder: Path) -> list[float]:
    """Return the Pipeline's probabilities of the stays, as stored at training."""
    return list(_examples(folder)["probabilities"])


def _examples(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "examples.json").read_text(encoding="utf-8")))


def fit(mart: pd.DataFrame, contract: Contract, folder: Path) -> None:
    """Fit CatBoost, which wins on the real data.

    Write a logged model with its bundle, as training does.
    """
    import mlflow

    from readmit.inference import typicality
    from training import (
        bundle_writer,
        call_list,
        candidates,
        compilation,
        evaluation,
        features,
        mlflow_tracking,
        observed_rates,
        typical_values,
    )
    from training.model_metrics import Bootstrap

    train = mart[mart["split"] == "train"]
    validation = mart[mart["split"] == "validation"]
    pipeline = candidates.catboost(contract, SEED, 1)  # one thread at scoring too
    pipeline.fit(train[features.columns(contract)], features.labels(contract, train))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*integer column.*")
        form = mlflow_tracking.form(contract, validation.head(5))
        mlflow.sklearn.save_model(pipeline, folder, **form)
    compilation.write(pipeline, contract, validation, folder)
    y = features.labels(contract, validation)
    p = evaluation.predict(pipeline, contract, validation)
    patients = validation["patient_nbr"]
    report = {
        "threshold": 0.2,
        "metrics": {},
        "data_source": "bench",
        "capacity": call_list.points(y, p, patients, Bootstrap(REPLICATES, SEED)),
        "score_bins": observed_rates.score_bins(y, p),
    }
    typical = typical_values.fit(contract, train, validation)
    (folder / typicality.FILE).write_text(json.dumps(typical), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    examples = bundle_writer.examples(pipeline, contract, validation)
    (folder / "examples.json").write_text(json.dumps(examples), encoding="utf-8")


def _parsed_contract() -> Contract:
    """Return the contract of the dbt project."""
    dbt = Path(sys.executable).parent / "dbt"
    project = str(ROOT / "dbt_project")
    with tempfile.TemporaryDirectory() as target:
        command = [str(dbt), "parse", "--project-dir", project, "--profiles-dir", project]
        command += ["--target-path", target, "--log-path", target]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Contract.from_manifest(Path(target) / "manifest.json")


def _download_production() -> Path | None:
    """Download production of the running stack; None when there is no stack or no production."""
    settings = StackSettings()
    health = f"{settings.mlflow_tracking_uri}/health"
    try:
        httpx.get(health, timeout=3, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return None
    import mlflow

    from training import mlflow_tracking
    from training.training_settings import TrainingSettings

    alias = mlflow_tracking.PRODUCTION
    with mlflow_tracking.reaching(TrainingSettings()) as client:
        if mlflow_tracking.version_at(client, settings.model_name, alias) is None:
            return None
        shutil.rmtree(DOWNLOADED, ignore_errors=True)
        DOWNLOADED.mkdir(parents=True)
        address = f"models:/{settings.model_name}@{alias}"
        return Path(mlflow.artifacts.download_artifacts(address, dst_path=str(DOWNLOADED)))


def main() -> None:
    """Print the folder of the model, or fit one: ROWS.parquet MANIFEST.json FOLDER."""
    if len(sys.argv) == 1:
        print(find().folder)
    else:
        mart, manifest, folder = (Path(argument) for argument in sys.argv[1:])
        fit(pd.read_parquet(mart), Contract.from_manifest(manifest), folder)


if __name__ == "__main__":
    main()
