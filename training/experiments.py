"""The experiment report: `python -m training.experiments` (make report) writes docs/experiments.md and its figures.

Reads the published rows of the mart (or `--rows`, a Parquet file of them). The sealed test rows are left out: looking
at them here would be a reading that nobody counts.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.model_selection import BaseCrossValidator, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from readmit.command import explained
from readmit.contract.definition import Contract
from readmit.settings import ROOT
from training import candidates, features, model_metrics, snapshots
from training.bundle_writer import markdown
from training.training_settings import TrainingSettings

FIGURES = ROOT / "docs" / "figures"
PAGE = ROOT / "docs" / "experiments.md"
FOLDS = 5
CALENDAR = "encounter_id"
# 0, 1, ... and "6 or more": beyond, intervals are wider than the plot.
MOST_VISITS = 6
PERIODS = 10


@dataclass(frozen=True)
class Variant:
    """One way to do it: a Pipeline, the folds it is judged on, and what of the labels it sees."""

    name: str
    make: Callable[[], Pipeline]
    folds: BaseCrossValidator
    are_labels_shuffled: bool = False


def variants(contract: Contract, settings: TrainingSettings) -> Iterator[Variant]:
    """Yield LightGBM as it stands, and with one decision taken the other way."""
    seed, threads = settings.training_seed, settings.training_threads
    by_patient = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    by_row = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    past = set(features.names(contract.history))
    present = contract.with_features(
        contract.inputs
        + tuple(f for f in contract.derived if f.derive and not past & set(f.derive.sources))
    )
    inputs = contract.with_features(contract.inputs)

    def model(of: Contract) -> Pipeline:
        return candidates.lightgbm(of, seed, threads)

    yield Variant("as it stands", lambda: model(contract), by_patient)
    yield Variant("without the history of the patient", lambda: model(present), by_patient)
    yield Variant("inputs only: no history, no derived features", lambda: model(inputs), by_patient)
    yield Variant(
        "without target rates of pairs", lambda: _without_pairs(model(contract)), by_patient
    )
    yield Variant("with balanced class weights", lambda: _balanced(model(contract)), by_patient)
    yield Variant("folds by row instead of by patient", lambda: model(contract), by_row)
    yield Variant(
        "with `encounter_id` as a feature", lambda: _with_calendar(model(contract)), by_patient
    )
    yield Variant(
        "with shuffled labels", lambda: model(contract), by_patient, are_labels_shuffled=True
    )


def _without_pairs(pipeline: Pipeline) -> Pipeline:
    encode = pipeline["encode"]
    encode.transformers = [each for each in encode.transformers if each[0] != "pairs"]
    return pipeline


def _balanced(pipeline: Pipeline) -> Pipeline:
    return pipeline.set_params(model__class_weight="balanced")


def _with_calendar(pipeline: Pipeline) -> Pipeline:
    pipeline["encode"].transformers.append(("calendar", "passthrough", [CALENDAR]))
    return pipeline


def judge(variant: Variant, contract: Contract, rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the pooled out-of-fold figures of a variant: AUROC, average precision, ECE."""
    x = rows[[*features.columns(contract), CALENDAR]]
    groups = None if type(variant.folds) is StratifiedKFold else rows["patient_nbr"].to_numpy()
    y = features.labels(contract, rows)
    if variant.are_labels_shuffled:
        y = np.random.default_rng(seed).permutation(y)
    p = np.full(len(rows), np.nan)
    for train, held in variant.folds.split(x, y, groups):
        fitted = variant.make().fit(x.iloc[train], y[train])
        p[held] = fitted.predict_proba(x.iloc[held])[:, 1]
    return {"name": variant.name, **model_metrics.point_figures(y, p)}


def rates(rows: pd.DataFrame, label: str, by: pd.Series) -> pd.DataFrame:
    """Return n, rate and the half width of its 95 % interval (normal approximation) for each value of `by`."""
    found = rows.groupby(by, observed=True)[label].agg(["size", "mean"])
    found["half"] = 1.96 * np.sqrt(found["mean"] * (1 - found["mean"]) / found["size"])
    return found


def draw(found: pd.DataFrame, title: str, axis: str, target: Path) -> None:
    """Draw rates with their intervals, and how many stays stand behind each."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(found))
    axes.errorbar(
        places, 100 * found["mean"], yerr=100 * found["half"], fmt="o", color="#12706a", capsize=3
    )
    names = [f"{value}\n{n:,}" for value, n in zip(found.index, found["size"], strict=True)]
    axes.set_xticks(places, names, fontsize=7)
    axes.set(title=title, xlabel=f"{axis}; below: number of stays", ylabel="back within 30 days, %")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(target, dpi=100)


def describe(contract: Contract, rows: pd.DataFrame) -> dict[str, Any]:
    """Draw what the data look like; returns the facts that the text names."""
    label = contract.label.name
    FIGURES.mkdir(parents=True, exist_ok=True)
    visits = (
        rows["n_inpatient_visits"]
        .clip(upper=MOST_VISITS)
        .map(lambda n: f"{n}+" if n == MOST_VISITS else str(n))
    )
    by_visits = rates(rows, label, visits)
    draw(
        by_visits,
        "Who was in hospital before comes back",
        "inpatient visits in the year before",
        FIGURES / "visits.png",
    )
    groups = rates(rows, label, rows["discharge_group"].str.replace("_", "\n")).sort_values("mean")
    draw(groups, "Where a patient goes matters", "discharged to", FIGURES / "discharge.png")
    periods = pd.qcut(
        rows[CALENDAR].rank(method="first"), PERIODS, labels=[str(n + 1) for n in range(PERIODS)]
    )
    by_period = rates(rows, label, periods)
    draw(
        by_period,
        "The rate over the file",
        "tenth of the file in order of encounter_id",
        FIGURES / "drift.png",
    )
    known_payer = rows["payer_code"].ne("unknown").groupby(periods, observed=True).mean()
    stays = rows["patient_nbr"].value_counts()
    return {
        "n": len(rows),
        "n_patients": int(rows["patient_nbr"].nunique()),
        "rate": rows[label].mean(),
        "share_repeat": (stays > 1).mean(),
        "most_stays": int(stays.max()),
        "visits": by_visits["mean"],
        "first_period": by_period["mean"].iloc[0],
        "last_period": by_period["mean"].iloc[-1],
        "payer_first": known_payer.iloc[0],
        "payer_last": known_payer.iloc[-1],
    }


def write(facts: dict[str, Any], results: Sequence[dict[str, Any]]) -> None:
    """Write the page."""
    page = markdown("experiments.md.j2").render(facts=facts, results=results, base=results[0])
    PAGE.write_text(page, encoding="utf-8")


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make report`."""
    parser = argparse.ArgumentParser(prog="make report", description=__doc__)
    parser.add_argument(
        "--rows", type=Path, help="Parquet file of the mart's rows (default: the mart)"
    )
    parser.add_argument("--manifest", type=Path, help="dbt manifest that the contract is read from")
    given = parser.parse_args(arguments)
    settings = TrainingSettings()
    contract = Contract.from_manifest(given.manifest or snapshots.manifest())
    rows = pd.read_parquet(given.rows) if given.rows else snapshots.read_mart(contract, settings)[0]
    rows = rows[rows["split"] != "test"].reset_index(drop=True)
    facts, results = describe(contract, rows), []
    for variant in variants(contract, settings):
        results.append(judge(variant, contract, rows, settings.training_seed))
        print(
            f"{variant.name}: AUROC {results[-1]['auroc']:.4f}, AP {results[-1]['average_precision']:.4f}",
            flush=True,
        )
    write(facts, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
