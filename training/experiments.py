"""The experiment report: `python -m training.experiments` (make report).

It writes docs/experiments.md and its figures from the published rows of the mart, or from `--rows`,
a Parquet file of them. The sealed test rows are left out: reading them here would be a reading that
is not counted.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.model_selection import BaseCrossValidator, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from readmit.command import explained
from readmit.contract.definition import Contract
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT
from training import candidates, features, model_metrics, snapshots
from training.bundle_writer import markdown
from training.training_settings import TrainingSettings

FIGURES = ROOT / "docs" / "figures"
PAGE = ROOT / "docs" / "experiments.md"
FOLDS = 5
CALENDAR = "encounter_id"
MAX_VISITS = 6  # 0, 1, ... and "6+": for more visits, the intervals are wider than the plot
N_PERIODS = 10


@dataclass(frozen=True)
class Variant:
    """A variant of the training: the Pipeline, the folds, and whether the labels are shuffled."""

    name: str
    make: Callable[[], Pipeline]
    folds: BaseCrossValidator
    are_labels_shuffled: bool = False


class Result(TypedDict):
    """Pooled out-of-fold metrics of a variant."""

    name: str
    auroc: float
    average_precision: float
    ece: float


def variants(contract: Contract, settings: TrainingSettings) -> Iterator[Variant]:
    """Yield LightGBM as it is trained, and then variants that differ in one decision."""
    seed = settings.training_seed
    by_patient = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    by_row = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)

    def lightgbm(contract: Contract = contract) -> Pipeline:
        return candidates.lightgbm(contract, seed, settings.training_threads)

    def without_history() -> Pipeline:
        return lightgbm(_without_history(contract))

    def inputs_only() -> Pipeline:
        return lightgbm(contract.with_features(contract.inputs))

    def without_pairs() -> Pipeline:
        pipeline = lightgbm()
        encode = pipeline["encode"]
        encode.transformers = [step for step in encode.transformers if step[0] != "pairs"]
        return pipeline

    def balanced() -> Pipeline:
        return lightgbm().set_params(model__class_weight="balanced")

    def with_calendar() -> Pipeline:
        pipeline = lightgbm()
        pipeline["encode"].transformers.append(("calendar", "passthrough", [CALENDAR]))
        return pipeline

    yield Variant("as it stands", lightgbm, by_patient)
    yield Variant("without the history of the patient", without_history, by_patient)
    yield Variant("inputs only: no history, no derived features", inputs_only, by_patient)
    yield Variant("without target rates of pairs", without_pairs, by_patient)
    yield Variant("with balanced class weights", balanced, by_patient)
    yield Variant("folds by row instead of by patient", lightgbm, by_row)
    yield Variant("with `encounter_id` as a feature", with_calendar, by_patient)
    yield Variant("with shuffled labels", lightgbm, by_patient, are_labels_shuffled=True)


def _without_history(contract: Contract) -> Contract:
    history = set(features.names(contract.history))
    remaining = list(contract.inputs)
    for feature in contract.derived:
        if feature.derive is not None and history.isdisjoint(feature.derive.sources):
            remaining.append(feature)
    return contract.with_features(tuple(remaining))


def judge(variant: Variant, contract: Contract, rows: pd.DataFrame, seed: int) -> Result:
    """Return the pooled out-of-fold metrics of a variant."""
    x = rows[[*features.columns(contract), CALENDAR]]
    y = features.labels(contract, rows)
    if variant.are_labels_shuffled:
        y = np.random.default_rng(seed).permutation(y)
    patients = None  # folds by row warn when they get groups
    if isinstance(variant.folds, StratifiedGroupKFold):
        patients = rows["patient_nbr"].to_numpy()
    p = np.full(len(rows), np.nan)
    for train, test in variant.folds.split(x, y, patients):
        pipeline = variant.make().fit(x.iloc[train], y[train])
        p[test] = pipeline.predict_proba(x.iloc[test])[:, 1]
    metrics = model_metrics.point_metrics(y, p)
    return {
        "name": variant.name,
        "auroc": metrics["auroc"],
        "average_precision": metrics["average_precision"],
        "ece": metrics["ece"],
    }


def rates(rows: pd.DataFrame, label: str, by: pd.Series) -> pd.DataFrame:
    """Return the rate of readmission for each value of `by`.

    Returns:
        A frame with `size` (rows), `mean` (rate) and `half` (half of the 95 % interval, by normal
        approximation).
    """
    table = rows.groupby(by, observed=True)[label].agg(["size", "mean"])
    table["half"] = 1.96 * np.sqrt(table["mean"] * (1 - table["mean"]) / table["size"])
    return table


def draw(table: pd.DataFrame, title: str, axis: str, target: Path) -> None:
    """Draw rates with their intervals, and the number of stays below each."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(table))
    axes.errorbar(
        positions,
        100 * table["mean"],
        yerr=100 * table["half"],
        fmt="o",
        color="#12706a",
        capsize=3,
    )
    names = [f"{value}\n{n:,}" for value, n in zip(table.index, table["size"], strict=True)]
    axes.set_xticks(positions, names, fontsize=7)
    axes.set(title=title, xlabel=f"{axis}; below: number of stays", ylabel="back within 30 days, %")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(target, dpi=100)


def describe(contract: Contract, rows: pd.DataFrame) -> dict[str, object]:
    """Draw the figures about the data; return the numbers that the text names."""
    label = contract.label.name
    FIGURES.mkdir(parents=True, exist_ok=True)
    visits = rows["n_inpatient_visits"].clip(upper=MAX_VISITS).astype(str)
    by_visits = rates(rows, label, visits.replace(str(MAX_VISITS), f"{MAX_VISITS}+"))
    draw(
        by_visits,
        "Who was in hospital before comes back",
        "inpatient visits in the year before",
        FIGURES / "visits.png",
    )
    discharge = rows["discharge_group"].str.replace("_", "\n")
    by_discharge = rates(rows, label, discharge).sort_values("mean")
    draw(by_discharge, "Where a patient goes matters", "discharged to", FIGURES / "discharge.png")
    names = [str(number) for number in range(1, N_PERIODS + 1)]
    periods = pd.qcut(rows[CALENDAR].rank(method="first"), N_PERIODS, labels=names)
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


def write(facts: dict[str, object], results: Sequence[Result]) -> None:
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
    options = parser.parse_args(arguments)
    settings = TrainingSettings()
    contract = Contract.from_manifest(options.manifest or snapshots.manifest())
    if options.rows:
        rows = pd.read_parquet(options.rows)
    else:
        rows, _ = snapshots.read_mart(contract, settings)
    rows = rows[rows["split"] != "test"].reset_index(drop=True)
    facts = describe(contract, rows)
    results = []
    for variant in variants(contract, settings):
        result = judge(variant, contract, rows, settings.training_seed)
        auroc = result["auroc"]
        average_precision = result["average_precision"]
        print(f"{variant.name}: AUROC {auroc:.4f}, AP {average_precision:.4f}", flush=True)
        results.append(result)
    write(facts, results)
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
