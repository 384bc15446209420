"""Measure the model as the published results do: `python -m training.quality`, build/quality.json.

Five patient-disjoint folds over all eligible rows. The settings of the candidate were fixed before,
on train folds only. The sealed test is scored too, by a model fitted on the train rows. The same
folds score three baselines. The best published results by this protocol on these data are 0.694
AUROC and 0.262 average precision.
"""

import argparse
import hashlib
import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from readmit.command import explained
from readmit.contract.definition import Contract
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT
from training import (
    baselines,
    candidates,
    card_page,
    evaluation,
    features,
    mlflow_tracking,
    model_metrics,
    monitor,
    published,
    published_report,
    quality_plots,
    rolling_origin,
    rolling_report,
    score_store,
    snapshots,
)
from training.model_metrics import Bootstrap, Estimate
from training.published_report import PublishedResult
from training.rolling_origin import Make
from training.rolling_protocol import Protocol
from training.rolling_report import Rolling, RollingReport
from training.score_store import ScoreStore
from training.training_settings import MonitorSettings, TrainingSettings

EXPERIMENT = "readmission-quality"
NOTE = "Reports of `make quality`: one run per report. The latest is also build/quality.json."
FOLDS = 5
# What MLflow takes in the name of a metric is letters, digits, spaces and _-.:/
NOT_IN_METRIC_NAMES = re.compile(r"[^\w\-.:/ ]")


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


class Quality(CrossValidation, SealedTest, RollingReport):
    """The content of `build/quality.json`; `published` is empty without the source file."""

    candidate: str
    n_rows: int
    n_patients: int
    data_fingerprint: str
    contract_hash: str
    baselines: dict[str, CrossValidation]
    published: dict[str, PublishedResult]


@dataclass(frozen=True)
class Mart:
    """The rows that are measured, in the order of `encounter_id`, and their fingerprint.

    `source` is the file that they come from, if it is at hand.
    """

    contract: Contract
    rows: pd.DataFrame
    fingerprint: str
    source: Path | None = None


def out_of_fold(
    name: str, make: Make, protocol: Protocol, seed: int
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Return the pooled out-of-fold probabilities, shape (n,), and the metrics of each fold."""
    contract = protocol.contract
    rows = protocol.rows
    y = features.labels(contract, rows)
    pooled = np.full(len(rows), np.nan)
    folds = []
    groups = _splits(seed).split(rows, y, protocol.patients)
    for number, (train, test) in enumerate(groups, start=1):
        pooled[test] = protocol.store.get(
            f"folds-{name}-{number}",
            partial(fit_and_score, make, contract, rows.iloc[train], rows.iloc[test]),
        )
        metrics = model_metrics.point_metrics(y[test], pooled[test])
        folds.append(metrics)
        auroc = metrics["auroc"]
        average_precision = metrics["average_precision"]
        protocol.show(
            f"{name}: fold {number} of {FOLDS}: AUROC {auroc:.4f}, AP {average_precision:.4f}"
        )
    return pooled, folds


def _splits(seed: int) -> StratifiedGroupKFold:
    return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)


def fit_and_score(
    make: Make, contract: Contract, train: pd.DataFrame, test: pd.DataFrame
) -> np.ndarray:
    """Fit a model on some rows and return its probabilities of others, shape (n,)."""
    pipeline = make().fit(train[features.columns(contract)], features.labels(contract, train))
    return evaluation.predict(pipeline, contract, test)


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


def measure(
    candidate: str, mart: Mart, settings: MonitorSettings, show: Callable[[str], None]
) -> Quality:
    """Measure a candidate and the baselines by folds and by rolling origin.

    The candidate scores the sealed test too.
    """
    contract = mart.contract
    seed = settings.training_seed
    folder = score_store.key(mart.fingerprint, contract.hash, seed)
    protocol = Protocol(
        contract=contract,
        rows=rolling_origin.in_order(mart.rows),
        store=ScoreStore(settings.readmit_home / "quality" / folder),
        bootstrap=Bootstrap(settings.bootstrap_replicates, seed),
        show=show,
    )

    def make_candidate() -> Pipeline:
        make = candidates.CANDIDATES[candidate]
        return make(contract, seed, settings.training_threads)

    models = {candidate: make_candidate, **baselines.models(contract, settings)}
    y = features.labels(contract, protocol.rows)
    out_of_folds = {}
    results = {}
    for name, make in models.items():
        out_of_folds[name], folds = out_of_fold(name, make, protocol, seed)
        estimates = model_metrics.with_intervals(
            y, out_of_folds[name], protocol.patients, protocol.bootstrap
        )
        results[name] = summary(estimates, folds)
    cross_validation = results.pop(candidate)
    return {
        "candidate": candidate,
        "n_rows": len(protocol.rows),
        "n_patients": int(protocol.rows["patient_nbr"].nunique()),
        "data_fingerprint": mart.fingerprint,
        "contract_hash": contract.hash,
        **cross_validation,
        **sealed_test(candidate, make_candidate, protocol),
        "baselines": results,
        **rolling_report.measure(candidate, models, out_of_folds, protocol, monitor.rule(settings)),
        "published": published_results(mart, protocol, settings),
    }


def published_results(
    mart: Mart, protocol: Protocol, settings: MonitorSettings
) -> dict[str, PublishedResult]:
    """Measure the published approaches, whose rows are those of the source file."""
    source = published_report.read_source(mart.source, protocol) if mart.source else None
    if source is None:
        protocol.show("published approaches: left out, the source file is not there (--source)")
        return {}
    seed = settings.training_seed
    folder = score_store.key(mart.fingerprint, mart.contract.hash, seed, [published])
    of_published = replace(protocol, store=ScoreStore(settings.readmit_home / "quality" / folder))
    return published_report.measure(source, of_published, _splits(seed), seed)


def sealed_test(candidate: str, make: Make, protocol: Protocol) -> SealedTest:
    """Fit a model on the train rows and score the sealed test with it."""
    rows = protocol.rows
    train = rows[rows["split"] == "train"]
    test = rows[rows["split"] == "test"]
    p = protocol.store.get(
        f"sealed-{candidate}", partial(fit_and_score, make, protocol.contract, train, test)
    )
    y = features.labels(protocol.contract, test)
    estimates = model_metrics.with_intervals(y, p, test["patient_nbr"], protocol.bootstrap)
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


def rolling_table(rolling: Rolling) -> Table:
    """Return the metrics by rolling origin as a table, one row for each model."""
    columns = Table("model", "AUROC", "AP", "ECE", "Brier skill", "slope", "intercept", box=None)
    for name, figures in rolling["models"].items():
        metrics = figures["all"]["metrics"]
        columns.add_row(
            name,
            f"{metrics['auroc']['figure']:.4f}",
            f"{metrics['average_precision']['figure']:.4f}",
            f"{metrics['ece']['figure']:.4f}",
            f"{metrics['brier_skill']['figure']:.4f}",
            f"{metrics['calibration_slope']['figure']:.3f}",
            f"{metrics['calibration_intercept']['figure']:.3f}",
        )
    return columns


def flat(document: object, prefix: str = "") -> dict[str, float]:
    """Return every number of a JSON document under its path, as MLflow logs metrics."""
    items: list[tuple[str, object]] = []
    if isinstance(document, dict):
        items = [(str(name), value) for name, value in document.items()]
    elif isinstance(document, list):
        items = [(str(number), value) for number, value in enumerate(document)]
    elif isinstance(document, int | float) and math.isfinite(document):
        return {prefix: float(document)}
    numbers: dict[str, float] = {}
    for name, value in items:
        accepted = NOT_IN_METRIC_NAMES.sub("", name)
        numbers |= flat(value, f"{prefix}/{accepted}" if prefix else accepted)
    return numbers


def figures(quality: Quality) -> dict[str, Figure]:
    """Return the figures of a measurement by name."""
    candidate = quality["candidate"]
    by_name = quality_plots.of_report(candidate, quality)
    if quality["published"]:
        by_time = quality["rolling"]["models"][candidate]["all"]["metrics"]["auroc"]
        by_name["published"] = quality_plots.published(
            quality["published"], candidate, quality["cv_auroc"], by_time
        )
    return by_name


def without_nan(document: object) -> object:
    """Return a JSON document with null for each NaN, which JSON does not have."""
    if isinstance(document, dict):
        return {name: without_nan(value) for name, value in document.items()}
    if isinstance(document, list):
        return [without_nan(value) for value in document]
    if isinstance(document, float) and not math.isfinite(document):
        return None
    return document


def log(quality: Quality, settings: TrainingSettings) -> None:
    """Log the numbers, the document and the figures to MLflow.

    The page of the version in production gets the figures too, when it is of this recipe.
    """
    by_name = figures(quality)
    with mlflow_tracking.reaching(settings) as client:
        mlflow_tracking.open_experiment(EXPERIMENT, NOTE)
        with mlflow.start_run(
            run_name=f"{quality['candidate']} {quality['data_fingerprint'][:12]}"
        ):
            mlflow.log_metrics(flat(quality))
            mlflow.log_text(json.dumps(without_nan(quality), indent=1), "quality.json")
            for name, figure in by_name.items():
                mlflow.log_figure(figure, f"plots/{name}.png")
        production = mlflow_tracking.version_at(
            client, settings.model_name, mlflow_tracking.PRODUCTION
        )
        if production and production.tags.get("candidate") == quality["candidate"]:
            card_page.add_figures(client, production, by_name, settings)


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make quality`."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("--candidate", default="catboost", choices=sorted(candidates.CANDIDATES))
    parser.add_argument(
        "--rows",
        type=Path,
        help="Parquet file of the mart's rows (default: the mart); nothing is logged to MLflow",
    )
    parser.add_argument("--manifest", type=Path, help="dbt manifest that the contract is read from")
    parser.add_argument(
        "--source",
        type=Path,
        help="CSV of the public data, for the published approaches"
        " (default: the one that `make up` has unpacked)",
    )
    options = parser.parse_args(arguments)
    settings = MonitorSettings()
    console = Console()
    began = time.monotonic()

    def show(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {text}")

    source = options.source or published_report.find_source(settings.readmit_home)
    contract = Contract.from_manifest(options.manifest or snapshots.manifest())
    if options.rows:
        fingerprint = hashlib.sha256(options.rows.read_bytes()).hexdigest()
        mart = Mart(contract, pd.read_parquet(options.rows), fingerprint, source)
    else:
        mart = Mart(contract, *snapshots.read_mart(contract, settings), source)
    quality = measure(options.candidate, mart, settings, show)
    target = ROOT / "build" / "quality.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(without_nan(quality), indent=1))
    for name, figure in figures(quality).items():
        figure.savefig(target.with_name(f"{name}.png"), dpi=110)
    console.print(table(quality))
    console.print("by rolling origin:")
    console.print(rolling_table(quality["rolling"]))
    if quality["published"]:
        console.print("published approaches, AUROC:")
        console.print(published_report.table(quality["published"]))
    if not options.rows:
        log(quality, settings)
    console.print(f"written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
