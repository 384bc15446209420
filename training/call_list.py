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
    estimate,
    resampled,
)

MOST_CALLS = 50  # of 100: a ward that can call more needs no model
REPLICATES = 200  # each costs three passes over the rows for each number of calls


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
    replicates = min(REPLICATES, bootstrap.replicates)
    samples = resampled(patients, replace(bootstrap, replicates=replicates))
    rows: list[CapacityPoint] = []
    for calls in range(1, MOST_CALLS + 1):
        limit = threshold(risk, calls / 100)
        is_called = risk >= limit
        brought = yields(outcome, is_called)
        calls_per_readmission = None
        if outcome[is_called].any():
            calls_per_readmission = estimate(brought["calls_per_readmission"], samples)
        rows.append(
            {
                "calls_per_100": calls,
                "threshold": limit,
                "called": estimate(brought["called"], samples),
                "readmissions_found": estimate(brought["found"], samples),
                "calls_per_readmission": calls_per_readmission,
            }
        )
    return rows
