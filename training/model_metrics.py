"""Figures of a binary classifier, with intervals from resampled patients. Pure: arrays in, numbers out.

Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1; `patients` (n,) identifiers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], float]

TOP_SHARE = 0.05
BINS = 10


class Figure(TypedDict):
    """A figure with its 95 % interval."""

    figure: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: how many resamples of patients, and their seed."""

    replicates: int
    seed: int


class Bin(TypedDict):
    """One quantile bin of predicted risk."""

    predicted: float
    observed: float
    n: int


def point_figures(y: ArrayLike, p: ArrayLike) -> dict[str, float]:
    """Return the figures that the project reports, without intervals.

    `brier_skill` is against always predicting the prevalence; `ece` uses 10 quantile bins; `lift_top5` is the rate
    among the 5 % of highest risk over the prevalence.

    Raises:
        ValueError: only one class in `y`.
    """
    outcome, risk = np.asarray(y, dtype=np.int64), np.asarray(p, dtype=np.float64)
    prevalence = outcome.mean()
    if not 0 < prevalence < 1:
        raise ValueError(f"figures need both outcomes; all {len(outcome)} rows have the same")
    brier = float(brier_score_loss(outcome, risk))
    return {
        "auroc": float(roc_auc_score(outcome, risk)),
        "average_precision": float(average_precision_score(outcome, risk)),
        "brier": brier,
        "brier_skill": float(1 - brier / (prevalence * (1 - prevalence))),
        "ece": expected_calibration_error(outcome, risk),
        "lift_top5": float(outcome[_top(risk)].mean() / prevalence),
        "log_loss": float(log_loss(outcome, np.clip(risk, 1e-7, 1 - 1e-7), labels=[0, 1])),
    }


def _top(p: Floats) -> NDArray[np.int64]:
    n = max(1, round(len(p) * TOP_SHARE))
    return np.argsort(-p, kind="stable")[:n]


def calibration(y: ArrayLike, p: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Return mean prediction and observed rate in bins of equal size, lowest risk first."""
    outcome, risk = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    parts = np.array_split(np.argsort(risk, kind="stable"), bins)
    return [
        {
            "predicted": float(risk[part].mean()),
            "observed": float(outcome[part].mean()),
            "n": len(part),
        }
        for part in parts
        if len(part)
    ]


def expected_calibration_error(y: ArrayLike, p: ArrayLike, bins: int = BINS) -> float:
    """Return the mean distance between prediction and observed rate over bins of equal size (Naeini et al. 2015)."""
    table = calibration(y, p, bins)
    total = sum(row["n"] for row in table)
    return sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in table) / total


class Ranking:
    """AUROC and average precision of one score under many weightings of its rows: sorted once, linear afterwards."""

    def __init__(self, y: ArrayLike, p: ArrayLike) -> None:
        outcome, risk = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
        _, self._tie = np.unique(
            -risk, return_inverse=True
        )  # 0 is the highest risk; ties share a number
        self._y, self._n = outcome, int(self._tie.max()) + 1

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        positive: Floats = np.bincount(self._tie, weights * self._y, self._n).astype(np.float64)
        both: Floats = np.bincount(self._tie, weights, self._n).astype(np.float64)
        return positive, both - positive

    def auroc(self, weights: Floats) -> float:
        """Return the weighted AUROC; equal to sklearn's `roc_auc_score(..., sample_weight=weights)`."""
        positive, negative = self._counts(weights)
        below = negative.sum() - np.cumsum(negative) + negative / 2
        return float((positive * below).sum() / (positive.sum() * negative.sum()))

    def average_precision(self, weights: Floats) -> float:
        """Return the weighted average precision; equal to sklearn's `average_precision_score`."""
        positive, negative = self._counts(weights)
        hits = np.cumsum(positive)
        flagged = hits + np.cumsum(negative)
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        return float((positive * precision).sum() / positive.sum())


def resampled(patients: ArrayLike, bootstrap: Bootstrap) -> list[Floats]:
    """Return row weights of bootstrap samples of patients: all rows of a patient share one count."""
    _, member = np.unique(np.asarray(patients), return_inverse=True)
    rng, n = np.random.default_rng(bootstrap.seed), int(member.max()) + 1
    return [
        rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64)[member]
        for _ in range(bootstrap.replicates)
    ]


def interval(statistic: Statistic, samples: list[Floats]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of a statistic over bootstrap samples (Efron and Tibshirani 1993)."""
    values = np.array([statistic(weights) for weights in samples])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def with_intervals(
    y: ArrayLike, p: ArrayLike, patients: ArrayLike, bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Return `point_figures` with 95 % intervals by patient bootstrap.

    Raises:
        ValueError: only one class in `y`.
    """
    outcome, risk = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    figures = point_figures(outcome, risk)
    statistics = _statistics(outcome, risk)
    samples = resampled(patients, bootstrap)
    found: dict[str, Figure] = {}
    for name, statistic in statistics.items():
        low, high = interval(statistic, samples)
        found[name] = {"figure": figures[name], "low": low, "high": high}
    return found


def _statistics(y: Floats, p: Floats) -> dict[str, Statistic]:
    ranking, squared = Ranking(y, p), (p - y) ** 2
    order = np.argsort(-p, kind="stable")
    bins = np.array_split(order[::-1], BINS)

    def skill(weights: Floats) -> float:
        rate = float(np.average(y, weights=weights))
        return 1 - float(np.average(squared, weights=weights)) / (rate * (1 - rate))

    def lift(weights: Floats) -> float:
        cumulated = np.cumsum(weights[order])
        chosen = order[: int(np.searchsorted(cumulated, TOP_SHARE * cumulated[-1])) + 1]
        return float(
            np.average(y[chosen], weights=weights[chosen]) / np.average(y, weights=weights)
        )

    def ece(weights: Floats) -> float:
        return float(sum(abs((weights[b] * (p[b] - y[b])).sum()) for b in bins) / weights.sum())

    return {
        "auroc": ranking.auroc,
        "average_precision": ranking.average_precision,
        "brier": lambda weights: float(np.average(squared, weights=weights)),
        "brier_skill": skill,
        "ece": ece,
        "lift_top5": lift,
    }
