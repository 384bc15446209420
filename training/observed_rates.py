"""What happened to validation patients with a score like this one. Pure."""

from math import sqrt
from statistics import NormalDist
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

MAX_BINS = 20
MIN_ROWS = 200  # of a bin: with fewer, the interval is wider than most bins are apart
Z95 = NormalDist().inv_cdf(0.975)
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
        rate = float(members.mean())
        low, high = interval(rate, len(members))
        bins.append(
            {
                "lowest": float(lowest),
                "n": len(members),
                "figure": rate,
                "low": low,
                "high": high,
            }
        )
    return bins


def interval(rate: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate of `n` stays (E. B. Wilson 1927)."""
    scale = 1 + Z95**2 / n
    middle = (rate + Z95**2 / (2 * n)) / scale
    half = Z95 / scale * sqrt(rate * (1 - rate) / n + (Z95 / (2 * n)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)
