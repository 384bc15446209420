"""Does a comparison by time choose better than one by patients? Replayed over the cuts. Pure.

At each cut there are two ways to choose between two recipes. By patients: on all stays so far, each
scored out of its patient's fold, as the promotion gate compares. By time: on the slice before, each
scored by a model fitted on the stays before that slice. The next slice says which recipe was the
better one.
"""

import itertools
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from training.model_metrics import Floats, Ranking
from training.rolling_protocol import Protocol


class Deciders(TypedDict):
    """How often each way chose the recipe that was better on the next slice.

    An error is the mean distance between the gain in AUROC that a way saw and the next slice's.
    """

    recipes: list[str]
    n_cuts: int
    right_by_patients: int
    right_by_time: int
    error_by_patients: float
    error_by_time: float


def judge(
    protocol: Protocol, matrices: Mapping[str, Floats], out_of_folds: Mapping[str, Floats]
) -> list[Deciders]:
    """Return the two ways for each pair of recipes.

    Args:
        protocol: rows and cuts.
        matrices: scores (cuts, n) by recipe.
        out_of_folds: scores (n,) by recipe. The folds hold later stays of other patients, which
            favours the way by patients.
    """
    judged = []
    for first, second in itertools.combinations(matrices, 2):
        by_patients = []
        by_time = []
        outcome = []
        for before, cut in itertools.pairwise(protocol.cuts):
            past = slice(0, cut.first)
            last = slice(before.first, before.end)
            following = slice(cut.first, cut.end)
            folds = (out_of_folds[first], out_of_folds[second])
            earlier = (matrices[first][before.number], matrices[second][before.number])
            newest = (matrices[first][cut.number], matrices[second][cut.number])
            by_patients.append(_gain(protocol.y, folds, past))
            by_time.append(_gain(protocol.y, earlier, last))
            outcome.append(_gain(protocol.y, newest, following))
        judged.append(
            Deciders(
                recipes=[first, second],
                n_cuts=len(outcome),
                right_by_patients=int((np.sign(by_patients) == np.sign(outcome)).sum()),
                right_by_time=int((np.sign(by_time) == np.sign(outcome)).sum()),
                error_by_patients=float(np.abs(np.subtract(by_patients, outcome)).mean()),
                error_by_time=float(np.abs(np.subtract(by_time, outcome)).mean()),
            )
        )
    return judged


def _gain(y: Floats, scores: tuple[Floats, Floats], rows: slice) -> float:
    """Return how much higher the AUROC of the first scores is on some rows."""
    unweighted = np.ones(len(y[rows]))
    first, second = (Ranking(y[rows], p[rows]).auroc(unweighted) for p in scores)
    return first - second
