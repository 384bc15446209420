"""Evaluate a fitted Pipeline: metrics, operating point, slices and learning curve. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract
from training import call_list, decision, features, model_metrics, observed_rates
from training.call_list import CapacityPoint
from training.decision import Costs, SliceMetrics
from training.observed_rates import ScoreBin

SLICE_REPLICATES = 200
CURVE_REPLICATES = 200
CURVE_SHARES = (0.2, 0.4, 0.6)


@dataclass(frozen=True)
class Evaluation:
    """The quality of one Pipeline on the validation rows."""

    y: np.ndarray
    p: np.ndarray
    metrics: dict[str, model_metrics.Estimate]
    operating_point: dict[str, float]
    calibration: list[model_metrics.Bin]
    decision_curve: list[dict[str, float]]
    slices: list[SliceMetrics]
    capacity: list[CapacityPoint]
    score_bins: list[ScoreBin]

    def flat(self) -> dict[str, float]:
        """Return every number under one name, as MLflow logs metrics."""
        flat: dict[str, float] = {}
        for name, estimate in self.metrics.items():
            flat[f"validation_{name}"] = estimate["figure"]
            flat[f"validation_{name}_low"] = estimate["low"]
            flat[f"validation_{name}_high"] = estimate["high"]
        for name, value in self.operating_point.items():
            flat[f"operating_{name}"] = value
        flat["slices_behind"] = len(self.behind())
        return flat

    def behind(self) -> list[str]:
        """Return the slices that are ranked worse than all rows together, as `race=Other`."""
        return [f"{row['slice']}={row['value']}" for row in self.slices if row["falls_behind"]]


def predict(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame) -> np.ndarray:
    """Return the probability of readmission, shape (n,)."""
    by_class: np.ndarray = pipeline.predict_proba(frame[features.columns(contract)])
    return by_class[:, 1]


def evaluate(
    pipeline: Pipeline,
    contract: Contract,
    frame: pd.DataFrame,
    costs: Costs,
    bootstrap: model_metrics.Bootstrap,
) -> Evaluation:
    """Evaluate a fitted Pipeline on rows that it has not learned from."""
    y = features.labels(contract, frame)
    p = predict(pipeline, contract, frame)
    threshold = decision.choose_threshold(y, p, costs)
    return Evaluation(
        y=y,
        p=p,
        metrics=model_metrics.with_intervals(y, p, frame["patient_nbr"], bootstrap),
        operating_point=decision.operating_point(y, p, threshold, costs),
        calibration=model_metrics.calibration(y, p),
        decision_curve=decision.decision_curve(y, p),
        slices=decision.slices(frame, y, p, replace(bootstrap, replicates=SLICE_REPLICATES)),
        score_bins=observed_rates.score_bins(y, p),
        capacity=call_list.points(y, p, frame["patient_nbr"], bootstrap),
    )


def learning_curve(
    make: Callable[[], Pipeline],
    contract: Contract,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    seed: int,
) -> list[dict[str, float]]:
    """Fit on the first train batches and score validation: what more data brought.

    The last point, on all train rows, is left to the caller, who has that model already.
    """
    y = features.labels(contract, validation)
    samples = curve_samples(validation, seed)
    batch_ids = list(train["_batch_id"].drop_duplicates())
    points = []
    for n_batches in prefixes(len(batch_ids)):
        rows = train[train["_batch_id"].isin(batch_ids[:n_batches])]
        pipeline = make().fit(rows[features.columns(contract)], features.labels(contract, rows))
        p = predict(pipeline, contract, validation)
        points.append(curve_point(y, p, samples, n_batches, len(rows)))
    return points


def prefixes(n_batches: int) -> list[int]:
    """Return up to three numbers of batches below `n_batches`.

    There are never more, so that a learning curve costs the same for any number of batches.
    """
    numbers = {max(1, round(n_batches * share)) for share in CURVE_SHARES}
    return sorted(numbers - {n_batches})


def curve_samples(validation: pd.DataFrame, seed: int) -> list[model_metrics.Floats]:
    """Return the bootstrap samples that every point of a learning curve shares."""
    bootstrap = model_metrics.Bootstrap(CURVE_REPLICATES, seed)
    return model_metrics.resampled(validation["patient_nbr"], bootstrap)


def curve_point(
    y: np.ndarray, p: np.ndarray, samples: list[model_metrics.Floats], n_batches: int, n_rows: int
) -> dict[str, float]:
    """Return one point of a learning curve, with its interval."""
    ranking = model_metrics.Ranking(y, p)
    low, high = model_metrics.interval(ranking.auroc, samples)
    unweighted = np.ones(len(y))
    return {
        "n_batches": n_batches,
        "n_rows": n_rows,
        "auroc": ranking.auroc(unweighted),
        "low": low,
        "high": high,
        "average_precision": ranking.average_precision(unweighted),
    }
