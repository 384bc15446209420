"""Who is called when a ward can call N of 100 discharged patients, and what it brings. Pure.

Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1; `patients` (n,) identifiers.
"""

from dataclasses import replace
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from training.model_metrics import (
    Bootstrap,
    Estimate,
    Floats,
    Mask,
    Statistic,
    percentiles,
    resampled,
)

MOST_CALLS = 50  # of 100: a ward that can call more needs no model
REPLICATES = 200


class CapacityPoint(TypedDict):
    """What a ward gets that can call `calls_per_100` of 100 patients.

    `called` and `readmissions_found` are shares: of the stays, and of the readmissions.
    `calls_per_readmission` is None when no readmission is found.
    """

    calls_per_100: int
    threshold: float
    called: Estimate
    readmissions_found: Estimate
    calls_per_readmission: Estimate | None


def threshold(p: Floats, share: float) -> float:
    """Return the score that `share` of the stays reach; a tie may let a few more reach it."""
    return float(np.quantile(p, 1 - share, method="inverted_cdf"))


def yields(y: Floats, is_called: Mask) -> dict[str, Statistic]:
    """Return what calls bring, as functions of row weights; NaN where nobody is called or found.

    `found` is the share of the readmissions whose patient was called before.
    """
    hits = y * is_called

    def called(weights: Floats) -> float:
        return float((weights * is_called).sum() / weights.sum())

    def found_share(weights: Floats) -> float:
        n_readmitted = (weights * y).sum()
        return float((weights * hits).sum() / n_readmitted) if n_readmitted > 0 else np.nan

    def ppv(weights: Floats) -> float:
        n_called = (weights * is_called).sum()
        return float((weights * hits).sum() / n_called) if n_called > 0 else np.nan

    def calls_per_readmission(weights: Floats) -> float:
        n_hits = (weights * hits).sum()
        return float((weights * is_called).sum() / n_hits) if n_hits > 0 else np.nan

    return {
        "called": called,
        "found": found_share,
        "ppv": ppv,
        "calls_per_readmission": calls_per_readmission,
    }


def points(
    y: ArrayLike, p: ArrayLike, patients: ArrayLike, bootstrap: Bootstrap
) -> list[CapacityPoint]:
    """Return the operating point of each number of calls, 1 to MOST_CALLS of 100 stays.

    Args:
        y: (n,) outcomes of rows that the model has not learned from.
        p: (n,) its probabilities.
        patients: (n,) patient of each row.
        bootstrap: its seed; at most REPLICATES samples are drawn.
    """
    outcome = np.asarray(y, dtype=np.float64)
    risk = np.asarray(p, dtype=np.float64)
    limits = [threshold(risk, calls / 100) for calls in range(1, MOST_CALLS + 1)]
    is_called = np.stack([risk >= limit for limit in limits], axis=1).astype(np.float64)
    replicates = min(REPLICATES, bootstrap.replicates)
    samples = resampled(patients, replace(bootstrap, replicates=replicates))
    # The first row has each stay once. Sums of whole numbers are exact in any order.
    weights = np.vstack([np.ones(len(risk)), *samples])
    n_called = weights @ is_called
    n_found = (weights * outcome) @ is_called
    called = n_called / weights.sum(axis=1, keepdims=True)
    found_share = _ratio(n_found, (weights @ outcome)[:, np.newaxis])
    per_readmission = _ratio(n_called, n_found)
    rows: list[CapacityPoint] = []
    for column, limit in enumerate(limits):
        calls_per_readmission = None
        if n_found[0, column] > 0:
            calls_per_readmission = _estimate(per_readmission[:, column])
        rows.append(
            {
                "calls_per_100": column + 1,
                "threshold": limit,
                "called": _estimate(called[:, column]),
                "readmissions_found": _estimate(found_share[:, column]),
                "calls_per_readmission": calls_per_readmission,
            }
        )
    return rows


def _ratio(numerators: Floats, denominators: Floats) -> Floats:
    """Return NaN where the denominator is 0."""
    ratio: Floats = np.full(numerators.shape, np.nan)
    np.divide(numerators, denominators, out=ratio, where=denominators > 0)
    return ratio


def _estimate(values: Floats) -> Estimate:
    """Return the first value, which is that of all stays, with the interval of the others."""
    low, high = percentiles(values[1:])
    return {"figure": float(values[0]), "low": low, "high": high}
