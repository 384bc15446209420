"""What happened to validation patients with a score like this one. Pure."""

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

MAX_BINS = 20
MIN_ROWS = 200  # of a bin: with fewer, the interval is wider than most bins are apart
TOP = 0.98  # the bin of highest risk is divided once more: its scores are far apart


class ScoreBin(TypedDict):
    """The stays with a score from `lowest` up to the next bin, and how many were readmitted.

    `low` and `high` are the 95 % interval of the rate (E. B. Wilson 1927).
    """

    lowest: float
    n: int
    figure: float
    low: float
    high: float


def score_bins(y: ArrayLike, p: ArrayLike) -> list[ScoreBin]:
    """Return bins of stays by their score, lowest first.

    Args:
        y: (n,) outcomes of rows that the model has not learned from.
        p: (n,) its probabilities.
    """
    outcome = np.asarray(y, dtype=np.int64)
    risk = np.asarray(p, dtype=np.float64)
    n_bins = min(MAX_BINS, max(1, len(risk) // MIN_ROWS))
    shares = list(np.arange(1, n_bins) / n_bins)
    if len(risk) * (1 - TOP) >= MIN_ROWS:
        shares.append(TOP)
    edges = np.unique([0.0, *np.quantile(risk, shares, method="higher")])
    number = np.searchsorted(edges, risk, side="right") - 1
    bins: list[ScoreBin] = []
    for position, lowest in enumerate(edges):
        members = outcome[number == position]
        if len(members) == 0:
            continue
        tested = binomtest(int(members.sum()), len(members))
        interval = tested.proportion_ci(method="wilson")
        bins.append(
            {
                "lowest": float(lowest),
                "n": len(members),
                "figure": float(members.mean()),
                "low": float(interval.low),
                "high": float(interval.high),
            }
        )
    return bins
