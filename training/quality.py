"""Measure the model as the published results do: `python -m training.quality`, build/quality.json.

Five patient-disjoint folds over all eligible rows. The settings of the candidate were fixed before,
on train folds only. The sealed test is scored too, by a model fitted on the train rows. The same
folds score three baselines. The best published results by this protocol on these data are 0.694
AUROC and 0.262 average precision.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

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
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT
from training import candidates, evaluation, features, model_metrics, snapshots
from training.model_metrics import Bootstrap, Estimate
from training.training_settings import TrainingSettings

FOLDS = 5
Make = Callable[[], Pipeline]


class FoldEstimate(Estimate):
    """A metric as the mean of the folds, with the interval of the pooled predictions."""

    deviation: float
    folds: list[float]
    pooled: float


class CrossValidation(TypedDict):
    """Metrics of one model by cross-validation."""

    cv_auroc: FoldEstimate
    cv_ap: FoldEstimate
    ece: Estimate
    brier_skill: Estimate
    lift_top5: Estimate


class SealedTest(TypedDict):
    """Metrics of one model on the sealed test."""

    test_auroc: Estimate
    test_ap: Estimate
    test_ece: Estimate


class Quality(CrossValidation, SealedTest):
    """The content of `build/quality.json`."""

    candidate: str
    n_rows: int
    n_patients: int
    data_fingerprint: str
    contract_hash: str
    baselines: dict[str, CrossValidation]


def baselines(contract: Contract, settings: TrainingSettings) -> dict[str, Make]:
    """Return the baselines: prevalence, and logistic regression and boosting on raw columns."""
    seed = settings.training_seed
    raw = contract.with_features(contract.inputs)

    def prior() -> Pipeline:
        model = DummyClassifier(strategy="prior")
        return Pipeline([*candidates.encoding(contract, seed), ("model", model)])

    def logistic_raw() -> Pipeline:
        return candidates.logistic(raw, seed, settings.training_threads)

    def hist_gradient_boosting() -> Pipeline:
        model = HistGradientBoostingClassifier(random_state=seed)
        return Pipeline([*candidates.encoding(raw, seed), ("model", model)])

    return {
        "prior": prior,
        "logistic_raw": logistic_raw,
        "hist_gradient_boosting": hist_gradient_boosting,
    }


def out_of_fold(
    make: Make, contract: Contract, rows: pd.DataFrame, seed: int, show: Callable[[str], None]
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the pooled out-of-fold probabilities, shape (n,), and the metrics of each fold."""
    y = features.labels(contract, rows)
    patients = rows["patient_nbr"].to_numpy()
    pooled = np.full(len(rows), np.nan)
    folds = []
    splits = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, y, patients)
    for number, (train, test) in enumerate(splits, start=1):
        pipeline = make().fit(rows.iloc[train][features.columns(contract)], y[train])
        pooled[test] = evaluation.predict(pipeline, contract, rows.iloc[test])
        metrics = model_metrics.point_metrics(y[test], pooled[test])
        folds.append(metrics)
        auroc = metrics["auroc"]
        average_precision = metrics["average_precision"]
        show(f"fold {number} of {FOLDS}: AUROC {auroc:.4f}, AP {average_precision:.4f}")
    return pooled, folds


def summary(pooled: dict[str, Estimate], folds: Sequence[dict[str, float]]) -> CrossValidation:
    """Return AUROC and average precision as means of the folds, the rest on pooled predictions."""
    return {
        "cv_auroc": _over_folds("auroc", pooled, folds),
        "cv_ap": _over_folds("average_precision", pooled, folds),
        "ece": pooled["ece"],
        "brier_skill": pooled["brier_skill"],
        "lift_top5": pooled["lift_top5"],
    }


def _over_folds(
    metric: str, pooled: dict[str, Estimate], folds: Sequence[dict[str, float]]
) -> FoldEstimate:
    values = [fold[metric] for fold in folds]
    estimate = pooled[metric]
    return {
        "figure": float(np.mean(values)),
        "low": estimate["low"],
        "high": estimate["high"],
        "deviation": float(np.std(values, ddof=1)),
        "folds": values,
        "pooled": estimate["figure"],
    }


def measure(candidate: str, settings: TrainingSettings, show: Callable[[str], None]) -> Quality:
    """Cross-validate a candidate and the baselines, and score the sealed test by the candidate."""
    contract = Contract.from_manifest(snapshots.manifest())
    rows, fingerprint = snapshots.read_mart(contract, settings)
    bootstrap = Bootstrap(settings.bootstrap_replicates, settings.training_seed)

    def make_candidate() -> Pipeline:
        make = candidates.CANDIDATES[candidate]
        return make(contract, settings.training_seed, settings.training_threads)

    def cross_validate(name: str, make: Make) -> CrossValidation:
        show(name)
        y = features.labels(contract, rows)
        pooled, folds = out_of_fold(make, contract, rows, settings.training_seed, show)
        estimates = model_metrics.with_intervals(y, pooled, rows["patient_nbr"], bootstrap)
        return summary(estimates, folds)

    cross_validation = cross_validate(candidate, make_candidate)
    baseline_results = {}
    for name, make in baselines(contract, settings).items():
        baseline_results[name] = cross_validate(name, make)
    show("sealed test")
    return {
        "candidate": candidate,
        "n_rows": len(rows),
        "n_patients": int(rows["patient_nbr"].nunique()),
        "data_fingerprint": fingerprint,
        "contract_hash": contract.hash,
        **cross_validation,
        **sealed_test(make_candidate, contract, rows, bootstrap),
        "baselines": baseline_results,
    }


def sealed_test(
    make: Make, contract: Contract, rows: pd.DataFrame, bootstrap: Bootstrap
) -> SealedTest:
    """Fit a model on the train rows and score the sealed test with it."""
    train = rows[rows["split"] == "train"]
    test = rows[rows["split"] == "test"]
    pipeline = make().fit(train[features.columns(contract)], features.labels(contract, train))
    p = evaluation.predict(pipeline, contract, test)
    y = features.labels(contract, test)
    estimates = model_metrics.with_intervals(y, p, test["patient_nbr"], bootstrap)
    return {
        "test_auroc": estimates["auroc"],
        "test_ap": estimates["average_precision"],
        "test_ece": estimates["ece"],
    }


def table(quality: Quality) -> Table:
    """Return the metrics as a table, baselines below."""
    columns = Table("model", "AUROC", "AP", "ECE", "Brier skill", "lift top 5 %", box=None)
    rows: dict[str, CrossValidation] = {quality["candidate"]: quality, **quality["baselines"]}
    for name, metrics in rows.items():
        columns.add_row(
            name,
            f"{metrics['cv_auroc']['figure']:.4f}",
            f"{metrics['cv_ap']['figure']:.4f}",
            f"{metrics['ece']['figure']:.4f}",
            f"{metrics['brier_skill']['figure']:.4f}",
            f"{metrics['lift_top5']['figure']:.2f}",
        )
    return columns


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make quality`."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("--candidate", default="catboost", choices=sorted(candidates.CANDIDATES))
    options = parser.parse_args(arguments)
    console = Console()
    began = time.monotonic()

    def show(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {text}")

    quality = measure(options.candidate, TrainingSettings(), show)
    target = ROOT / "build" / "quality.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(quality, indent=1))
    console.print(table(quality))
    console.print(f"written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
