"""The quality of the model by the protocol of the published figures: `python -m training.quality`, build/quality.json.

Five patient-disjoint folds over all eligible rows, settings frozen beforehand (they were found on train folds only);
beside it the sealed test, by a model fitted on train. The same folds score three baselines. Published figures by this
protocol on these data: at best 0.694 AUROC, 0.262 average precision.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from readmit.command import explained
from readmit.contract.definition import Contract
from readmit.settings import ROOT
from training import candidates, evaluation, features, model_metrics, snapshots
from training.training_settings import TrainingSettings

FOLDS = 5
SAID = {
    "cv_auroc": "auroc",
    "cv_ap": "average_precision",
    "ece": "ece",
    "brier_skill": "brier_skill",
    "lift_top5": "lift_top5",
}
Make = Callable[[], Pipeline]


def baselines(contract: Contract, settings: TrainingSettings) -> dict[str, Make]:
    """Return the three baselines: prevalence, logistic regression on raw columns, plain histogram boosting."""
    seed, threads = settings.training_seed, settings.training_threads
    raw = contract.with_features(contract.inputs)
    return {
        "prior": lambda: Pipeline(
            [*candidates.encoding(contract, seed), ("model", DummyClassifier(strategy="prior"))]
        ),
        "logistic_raw": lambda: candidates.logistic(raw, seed, threads),
        "hist_gradient_boosting": lambda: Pipeline(
            [
                *candidates.encoding(raw, seed),
                ("model", HistGradientBoostingClassifier(random_state=seed)),
            ]
        ),
    }


def out_of_fold(
    make: Make, contract: Contract, rows: pd.DataFrame, seed: int, show: Callable[[str], None]
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the pooled out-of-fold probabilities, shape (n,), and the figures of each fold."""
    y, groups = features.labels(contract, rows), rows["patient_nbr"].to_numpy()
    pooled, folds = np.full(len(rows), np.nan), []
    splits = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, y, groups)
    for number, (train, held) in enumerate(splits, start=1):
        pipeline = make().fit(rows.iloc[train][features.columns(contract)], y[train])
        pooled[held] = evaluation.predict(pipeline, contract, rows.iloc[held])
        folds.append(model_metrics.point_figures(y[held], pooled[held]))
        show(
            f"fold {number} of {FOLDS}: AUROC {folds[-1]['auroc']:.4f}, AP {folds[-1]['average_precision']:.4f}"
        )
    return pooled, folds


def summary(
    pooled: dict[str, model_metrics.Figure], folds: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Return AUROC and AP as mean of the folds with their deviation, the rest on the pooled predictions."""
    said: dict[str, Any] = {name: dict(pooled[key]) for name, key in SAID.items()}
    for name in ("cv_auroc", "cv_ap"):
        values = [fold[SAID[name]] for fold in folds]
        said[name] |= {
            "figure": float(np.mean(values)),
            "deviation": float(np.std(values, ddof=1)),
            "folds": values,
        }
        said[name]["pooled"] = pooled[SAID[name]]["figure"]
    return said


def measure(
    candidate: str, settings: TrainingSettings, show: Callable[[str], None]
) -> dict[str, Any]:
    """Return what `build/quality.json` holds."""
    contract = Contract.from_manifest(snapshots.manifest())
    rows, fingerprint = snapshots.read_mart(contract, settings)
    y, patients = features.labels(contract, rows), rows["patient_nbr"]
    bootstrap = model_metrics.Bootstrap(settings.bootstrap_replicates, settings.training_seed)
    makes: dict[str, Make] = {
        candidate: lambda: candidates.CANDIDATES[candidate](
            contract, settings.training_seed, settings.training_threads
        ),
        **baselines(contract, settings),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, make in makes.items():
        show(name)
        pooled, folds = out_of_fold(make, contract, rows, settings.training_seed, show)
        found[name] = summary(model_metrics.with_intervals(y, pooled, patients, bootstrap), folds)
    show("sealed test")
    return {
        "candidate": candidate,
        "n_rows": len(rows),
        "n_patients": int(patients.nunique()),
        "data_fingerprint": fingerprint,
        "contract_hash": contract.hash,
        **found.pop(candidate),
        **_sealed(makes[candidate], contract, rows, bootstrap),
        "baselines": found,
    }


def _sealed(
    make: Make, contract: Contract, rows: pd.DataFrame, bootstrap: model_metrics.Bootstrap
) -> dict[str, Any]:
    train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    pipeline = make().fit(train[features.columns(contract)], features.labels(contract, train))
    p = evaluation.predict(pipeline, contract, test)
    scored = model_metrics.with_intervals(
        features.labels(contract, test), p, test["patient_nbr"], bootstrap
    )
    return {
        "test_auroc": scored["auroc"],
        "test_ap": scored["average_precision"],
        "test_ece": scored["ece"],
    }


def table(said: dict[str, Any]) -> Table:
    """Return the figures as a table, baselines below."""
    shown = Table("model", "AUROC", "AP", "ECE", "Brier skill", "lift top 5 %", box=None)
    for name, row in ((said["candidate"], said), *said["baselines"].items()):
        shown.add_row(
            name,
            *(f"{row[key]['figure']:.4f}" for key in ("cv_auroc", "cv_ap", "ece", "brier_skill")),
            f"{row['lift_top5']['figure']:.2f}",
        )
    return shown


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make quality`."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("--candidate", default="catboost", choices=sorted(candidates.CANDIDATES))
    given = parser.parse_args(arguments)
    console, began = Console(), time.monotonic()

    def show(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {text}")

    said = measure(given.candidate, TrainingSettings(), show)
    target = ROOT / "build" / "quality.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(said, indent=1))
    console.print(table(said))
    console.print(f"written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
