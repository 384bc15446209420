"""How long a model stays good: its age in slices, recalibration, and the value of retraining. Pure.

A model of age k was fitted k slices before the slice that it predicts: age 1 is a model that is
retrained for each slice. Models of two ages are compared on the same slices, so that an easy slice
favours neither. Shapes: `y` (n,) of 0 and 1; `matrix` (cuts, n), NaN for rows before a cut.
"""

import itertools
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from training import model_metrics, recalibration
from training.model_metrics import Estimate, Floats, Ranking, Statistic, estimate
from training.rolling_origin import Cut

Pairs = list[tuple[Cut, Cut]]  # the cut of a model, and the cut whose slice it predicts


class Calibration(TypedDict):
    """How far probabilities are from the outcomes."""

    ece: float
    brier_skill: float
    intercept: float
    slope: float


class Age(TypedDict):
    """A model that is `age` slices old, and a retrained one on the same slices."""

    age: int
    n_slices: int
    n_stays: int
    auroc: Estimate
    retrained_auroc: float
    auroc_lost: Estimate
    brier_skill_lost: Estimate
    as_it_is: Calibration
    recalibrated: Calibration


class Retraining(TypedDict):
    """What the training at a cut gained over the model before it, on all later slices."""

    cut: int
    n_stays: int
    gain: Estimate


class Decay(TypedDict):
    """The section `decay` of `build/quality.json`."""

    ages: list[Age]
    retraining: list[Retraining]
    first_age_with_loss: int | None


@dataclass(frozen=True)
class Replay:
    """Models of all cuts on all later rows, with the bootstrap samples of their patients."""

    y: Floats
    matrix: Floats
    cuts: list[Cut]
    samples: list[Floats]

    def pairs(self, age: int) -> Pairs:
        """Return each slice that a model of this age predicts, with the cut of the model."""
        return list(zip(self.cuts, self.cuts[age - 1 :], strict=False))

    def scores(self, pairs: Pairs) -> Floats:
        """Return the scores of the slices, shape (n,), NaN for all other rows."""
        scores = np.full(len(self.y), np.nan)
        for trained, predicted in pairs:
            rows = slice(predicted.first, predicted.end)
            scores[rows] = self.matrix[trained.number, rows]
        return scores

    def recalibrated(self, pairs: Pairs) -> Floats:
        """Return the scores of the slices, recalibrated on the slice before each, shape (n,).

        A model of age 1 has seen the slice before, so its scores stay as they are.
        """
        scores = self.scores(pairs)
        for trained, predicted in pairs:
            if trained.number == predicted.number:
                continue
            before = self.cuts[predicted.number - 1]
            past = slice(before.first, before.end)
            x = recalibration.log_odds(self.matrix[trained.number, past])
            line = recalibration.fit_line(self.y[past], x, np.ones(len(x)))
            future = slice(predicted.first, predicted.end)
            scores[future] = line.apply(scores[future])
        return scores

    def mean_auroc(self, scores: Floats, pairs: Pairs) -> Statistic:
        """Return the mean AUROC of the slices as a function of row weights."""
        slices = [slice(predicted.first, predicted.end) for _, predicted in pairs]
        rankings = [Ranking(self.y[rows], scores[rows]) for rows in slices]

        def mean(weights: Floats) -> float:
            parts = zip(rankings, slices, strict=True)
            return float(np.mean([ranking.auroc(weights[rows]) for ranking, rows in parts]))

        return mean


def measure(replay: Replay) -> Decay:
    """Return the figures by age, what each training gained, and from which age a loss is shown."""
    ages = [_age(replay, age) for age in range(1, len(replay.cuts) + 1)]
    retraining = []
    for before, cut in itertools.pairwise(replay.cuts):
        gain = _difference(_auroc_after(replay, cut, cut), _auroc_after(replay, before, cut))
        retraining.append(
            Retraining(
                cut=cut.number,
                n_stays=len(replay.y) - cut.first,
                gain=estimate(gain, replay.samples),
            )
        )
    shown = [point["age"] for point in ages if point["auroc_lost"]["low"] > 0]
    return {
        "ages": ages,
        "retraining": retraining,
        "first_age_with_loss": min(shown, default=None),
    }


def _auroc_after(replay: Replay, trained: Cut, cut: Cut) -> Statistic:
    """Return the AUROC of a model on all stays after a cut as a function of row weights."""
    rows = slice(cut.first, None)
    ranking = Ranking(replay.y[rows], replay.matrix[trained.number, rows])
    return lambda weights: ranking.auroc(weights[rows])


def _difference(minuend: Statistic, subtrahend: Statistic) -> Statistic:
    return lambda weights: minuend(weights) - subtrahend(weights)


def _age(replay: Replay, age: int) -> Age:
    pairs = replay.pairs(age)
    retrained_pairs = [(predicted, predicted) for _, predicted in pairs]
    scores = replay.scores(pairs)
    retrained = replay.scores(retrained_pairs)
    rows = np.isfinite(scores)
    y = replay.y[rows]
    auroc = replay.mean_auroc(scores, pairs)
    retrained_auroc = replay.mean_auroc(retrained, pairs)
    errors_added = np.zeros(len(replay.y))
    errors_added[rows] = (scores[rows] - y) ** 2 - (retrained[rows] - y) ** 2

    def brier_skill_lost(weights: Floats) -> float:
        rate = np.average(y, weights=weights[rows])
        added = np.average(errors_added[rows], weights=weights[rows])
        return float(added / (rate * (1 - rate)))

    return {
        "age": age,
        "n_slices": len(pairs),
        "n_stays": len(y),
        "auroc": estimate(auroc, replay.samples),
        "retrained_auroc": retrained_auroc(np.ones(len(replay.y))),
        "auroc_lost": estimate(_difference(retrained_auroc, auroc), replay.samples),
        "brier_skill_lost": estimate(brier_skill_lost, replay.samples),
        "as_it_is": _calibration(y, scores[rows]),
        "recalibrated": _calibration(y, replay.recalibrated(pairs)[rows]),
    }


def _calibration(y: Floats, p: Floats) -> Calibration:
    metrics = model_metrics.point_metrics(y, p)
    lines = recalibration.statistics(y, p)
    unweighted = np.ones(len(y))
    return {
        "ece": metrics["ece"],
        "brier_skill": metrics["brier_skill"],
        "intercept": lines["calibration_intercept"](unweighted),
        "slope": lines["calibration_slope"](unweighted),
    }
