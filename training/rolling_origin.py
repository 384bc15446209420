"""Rolling origin: train on all stays before a cut, predict the stays after it. Pure.

The data have no dates, so `encounter_id` is the only clock. The last half of the stays is divided
into slices of equal size. A cut lies before each slice. Shapes: `rows` (n,) in the order of
`encounter_id`; a score matrix (cuts, n), NaN for the stays before a cut.

Source: Tashman 2000, "Out-of-sample tests of forecasting accuracy".
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from readmit.contract.definition import Contract
from training import evaluation, features
from training.model_metrics import Floats, Mask

CLOCK = "encounter_id"
N_CUTS = 10
FIRST_CUT = 0.5  # share of the stays before the first cut

Make = Callable[[], Pipeline]


@dataclass(frozen=True)
class Cut:
    """A moment in the order of stays: training ends before `first`, its slice before `end`."""

    number: int
    first: int
    end: int


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order of the clock, numbered from 0."""
    return rows.sort_values(CLOCK, kind="stable").reset_index(drop=True)


def cuts(n_rows: int, n_cuts: int = N_CUTS) -> list[Cut]:
    """Return the cuts over the last half of `n_rows` stays, earliest first."""
    edges = np.linspace(FIRST_CUT * n_rows, n_rows, n_cuts + 1).round().astype(int)
    planned = []
    for number, (first, end) in enumerate(itertools.pairwise(edges)):
        planned.append(Cut(number, int(first), int(end)))
    return planned


def score_later(make: Make, contract: Contract, rows: pd.DataFrame, cut: Cut) -> Floats:
    """Fit on the rows before a cut and score every row after it.

    Args:
        make: returns an unfitted Pipeline.
        contract: names columns and label.
        rows: (n,) in the order of the clock.
        cut: where training ends.

    Returns:
        Probabilities of shape (n,), NaN for the rows before the cut.
    """
    earlier = rows.iloc[: cut.first]
    pipeline = make().fit(earlier[features.columns(contract)], features.labels(contract, earlier))
    scores = np.full(len(rows), np.nan)
    scores[cut.first :] = evaluation.predict(pipeline, contract, rows.iloc[cut.first :])
    return scores


def newest(matrix: Floats, planned: list[Cut]) -> Floats:
    """Return the score of each row by the newest model before it, shape (n,)."""
    scores = np.full(matrix.shape[1], np.nan)
    for cut in planned:
        scores[cut.first : cut.end] = matrix[cut.number, cut.first : cut.end]
    return scores


def returning(patients: NDArray[np.int64], planned: list[Cut]) -> Mask:
    """Return whether a patient of a later row has a row before the cut of its slice, shape (n,).

    Rows before the first cut are False.
    """
    is_returning = np.zeros(len(patients), dtype=np.bool_)
    for cut in planned:
        is_returning[cut.first : cut.end] = np.isin(
            patients[cut.first : cut.end], patients[: cut.first]
        )
    return is_returning
