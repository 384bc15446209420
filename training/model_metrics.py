"""Metrics of a binary classifier, with intervals from resampled patients. Pure.

Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1; `patients` (n,) identifiers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Statistic = Callable[[Floats], float]

TOP_SHARE = 0.05
N_BINS = 10


class Estimate(TypedDict):
    """The value of a metric with its 95 % interval."""

    figure: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed: the number of resamples of patients, and their seed."""

    replicates: int
    seed: int


class Bin(TypedDict):
    """One quantile bin of predicted risk."""

    predicted: float
    observed: float
    n: int


def point_metrics(y: ArrayLike, p: ArrayLike) -> dict[str, float]:
    """Return the metrics that the project reports, without intervals.

    `brier_skill` compares with always predicting the prevalence. `ece` uses 10 quantile bins.
    `lift_top5` is the rate among the 5 % of highest risk over the prevalence.

    Raises:
        ValueError: only one class in `y`.
    """
    outcome = np.asarray(y, dtype=np.int64)
    risk = np.asarray(p, dtype=np.float64)
    prevalence = outcome.mean()
    if not 0 < prevalence < 1:
        raise ValueError(f"metrics need both outcomes; all {len(outcome)} rows have the same")
    brier = float(brier_score_loss(outcome, risk))
    n_top = max(1, round(len(risk) * TOP_SHARE))
    top = np.argsort(-risk, kind="stable")[:n_top]
    return {
        "auroc": float(roc_auc_score(outcome, risk)),
        "average_precision": float(average_precision_score(outcome, risk)),
        "brier": brier,
        "brier_skill": float(1 - brier / (prevalence * (1 - prevalence))),
        "ece": expected_calibration_error(outcome, risk),
        "lift_top5": float(outcome[top].mean() / prevalence),
        "log_loss": float(log_loss(outcome, np.clip(risk, 1e-7, 1 - 1e-7), labels=[0, 1])),
    }


def calibration(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> list[Bin]:
    """Return mean prediction and observed rate in bins of equal size, lowest risk first."""
    outcome = np.asarray(y, dtype=np.float64)
    risk = np.asarray(p, dtype=np.float64)
    bins: list[Bin] = []
    for rows in np.array_split(np.argsort(risk, kind="stable"), n_bins):
        if len(rows) > 0:
            bins.append(
                {
                    "predicted": float(risk[rows].mean()),
                    "observed": float(outcome[rows].mean()),
                    "n": len(rows),
                }
            )
    return bins


def expected_calibration_error(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the mean distance between prediction and observed rate over bins of equal size.

    Source: Naeini et al. 2015.
    """
    bins = calibration(y, p, n_bins)
    distance = sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in bins)
    return distance / sum(row["n"] for row in bins)


class Ranking:
    """AUROC and average precision of one score under many weightings of its rows.

    The rows are sorted once. After that, each weighting costs linear time.
    """

    def __init__(self, y: ArrayLike, p: ArrayLike) -> None:
        risk = np.asarray(p, dtype=np.float64)
        self._by_risk = np.argsort(-risk, kind="stable")
        self._y = np.asarray(y, dtype=np.float64)[self._by_risk]
        # Rows with equal risk share a rank. A rank begins where the risk is another.
        is_new = np.diff(risk[self._by_risk], prepend=np.inf) != 0
        self._begins = np.flatnonzero(is_new)

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weight of positive and of negative rows at each rank, highest risk first."""
        total = weights[self._by_risk]
        positive = total * self._y
        if len(self._begins) < len(total):
            total = np.add.reduceat(total, self._begins)
            positive = np.add.reduceat(positive, self._begins)
        return positive, total - positive

    def auroc(self, weights: Floats) -> float:
        """Return the weighted AUROC: sklearn's `roc_auc_score(..., sample_weight=weights)`."""
        positive, negative = self._counts(weights)
        below = negative.sum() - np.cumsum(negative) + negative / 2
        return float((positive * below).sum() / (positive.sum() * negative.sum()))

    def average_precision(self, weights: Floats) -> float:
        """Return the weighted average precision, equal to sklearn's `average_precision_score`."""
        positive, negative = self._counts(weights)
        hits = np.cumsum(positive)
        flagged = hits + np.cumsum(negative)
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        return float((positive * precision).sum() / positive.sum())


def resampled(patients: ArrayLike, bootstrap: Bootstrap) -> list[Floats]:
    """Return row weights of bootstrap samples of patients: equal for all rows of a patient."""
    _, member = np.unique(np.asarray(patients), return_inverse=True)
    n_patients = int(member.max()) + 1
    probabilities = np.full(n_patients, 1 / n_patients)
    rng = np.random.default_rng(bootstrap.seed)
    samples = []
    for _ in range(bootstrap.replicates):
        counts = rng.multinomial(n_patients, probabilities).astype(np.float64)
        samples.append(counts[member])
    return samples


def interval(statistic: Statistic, samples: list[Floats]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of a statistic over bootstrap samples.

    Source: Efron and Tibshirani 1993.
    """
    return percentiles(np.array([statistic(weights) for weights in samples]))


def percentiles(values: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of the values of a statistic; NaN counts as none."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def with_intervals(
    y: ArrayLike,
    p: ArrayLike,
    patients: ArrayLike,
    bootstrap: Bootstrap,
    further: Mapping[str, Statistic] | None = None,
) -> dict[str, Estimate]:
    """Return `point_metrics` with 95 % intervals by patient bootstrap.

    Args:
        y: (n,) outcomes.
        p: (n,) probabilities.
        patients: (n,) patient of each row.
        bootstrap: resamples and seed.
        further: more metrics of the same rows, as functions of row weights.

    Raises:
        ValueError: only one class in `y`.
    """
    outcome = np.asarray(y, dtype=np.float64)
    risk = np.asarray(p, dtype=np.float64)
    points = point_metrics(outcome, risk)
    samples = resampled(patients, bootstrap)
    estimates: dict[str, Estimate] = {}
    for name, statistic in _statistics(outcome, risk).items():
        low, high = interval(statistic, samples)
        estimates[name] = {"figure": points[name], "low": low, "high": high}
    for name, statistic in (further or {}).items():
        estimates[name] = estimate(statistic, samples)
    return estimates


def estimate(statistic: Statistic, samples: list[Floats]) -> Estimate:
    """Return a statistic of all rows with its 95 % interval over bootstrap samples."""
    low, high = interval(statistic, samples)
    return {"figure": statistic(np.ones(len(samples[0]))), "low": low, "high": high}


def _statistics(y: Floats, p: Floats) -> dict[str, Statistic]:
    """Return the metrics as functions of row weights."""
    ranking = Ranking(y, p)
    errors = p - y
    squared_error = errors**2
    by_risk = np.argsort(-p, kind="stable")
    bins = [(rows, errors[rows]) for rows in np.array_split(by_risk[::-1], N_BINS)]

    def brier(weights: Floats) -> float:
        return float(np.average(squared_error, weights=weights))

    def brier_skill(weights: Floats) -> float:
        rate = float(np.average(y, weights=weights))
        return 1 - brier(weights) / (rate * (1 - rate))

    def lift(weights: Floats) -> float:
        cumulated = np.cumsum(weights[by_risk])
        n_top = int(np.searchsorted(cumulated, TOP_SHARE * cumulated[-1])) + 1
        top = by_risk[:n_top]
        rate_at_top = np.average(y[top], weights=weights[top])
        return float(rate_at_top / np.average(y, weights=weights))

    def ece(weights: Floats) -> float:
        distances = [abs((weights[rows] * in_bin).sum()) for rows, in_bin in bins]
        return float(sum(distances) / weights.sum())

    return {
        "auroc": ranking.auroc,
        "average_precision": ranking.average_precision,
        "brier": brier,
        "brier_skill": brier_skill,
        "ece": ece,
        "lift_top5": lift,
    }
