"""The promotion gate: promote on evidence, keep otherwise. Pure; an error never promotes.

Challenger and production are scored on the same frozen validation rows. The gain in AUROC is
resampled by patient, in pairs: each replicate gives both models the same patients.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from training.model_metrics import Bootstrap, Floats, Ranking, interval, resampled
from training.time_comparison import TimeComparison

METRIC = "auroc"


@dataclass(frozen=True)
class Rule:
    """When a challenger is promoted."""

    floor: float
    margin: float
    bootstrap: Bootstrap


class Evidence(TypedDict, total=False):
    """A verdict as JSON."""

    promote: bool
    reason: str
    challenger_score: float | None
    production_score: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    by_time: TimeComparison | None


@dataclass(frozen=True)
class Verdict:
    """A decision with its evidence: AUROC on the validation rows, and 95 % interval of the gain.

    `by_time` compares the recipes on later stays. It decides nothing.
    """

    promote: bool
    reason: str
    challenger_score: float | None = None
    production_score: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    by_time: TimeComparison | None = None

    def evidence(self) -> Evidence:
        """Return the verdict as JSON."""
        return {
            "promote": self.promote,
            "reason": self.reason,
            "challenger_score": self.challenger_score,
            "production_score": self.production_score,
            "gain": self.gain,
            "gain_low": self.gain_low,
            "gain_high": self.gain_high,
            "by_time": self.by_time,
        }


def judge(
    y: ArrayLike,
    challenger: ArrayLike,
    production: ArrayLike | None,
    *,
    patients: ArrayLike,
    rule: Rule,
    has_newer: bool,
) -> Verdict:
    """Decide whether the challenger is promoted.

    Args:
        y: (n,) outcomes of the validation rows.
        challenger: (n,) probabilities of the challenger.
        production: (n,) probabilities of the model in production, or None when there is none.
        patients: (n,) patient of each row.
        rule: floor, margin and bootstrap.
        has_newer: whether the challenger was trained on more or fresher data.

    Raises:
        ValueError: a score is not finite or outside 0..1, or shapes differ.
    """
    shape = np.shape(y)
    challenger_ranking = Ranking(y, _checked(challenger, shape, "challenger"))
    production_ranking = None
    if production is not None:
        production_ranking = Ranking(y, _checked(production, shape, "production"))
    unweighted = np.ones(shape[0])
    score = challenger_ranking.auroc(unweighted)
    if score < rule.floor:
        return Verdict(False, f"AUROC {score:.4f} is below the floor of {rule.floor}", score)
    if production_ranking is None:
        return Verdict(
            True, "there is no model in production, and the challenger is above the floor", score
        )

    def gain_of(weights: Floats) -> float:
        return challenger_ranking.auroc(weights) - production_ranking.auroc(weights)

    low, high = interval(gain_of, resampled(patients, rule.bootstrap))
    production_score = production_ranking.auroc(unweighted)
    gain = score - production_score
    promote, reason = decide(gain, low, rule, has_newer)
    return Verdict(promote, reason, score, production_score, gain, low, high)


def _checked(p: ArrayLike, shape: tuple[int, ...], model: str) -> Floats:
    scores = np.asarray(p, dtype=np.float64)
    if scores.shape != shape:
        raise ValueError(f"{model} gave scores of shape {scores.shape} for rows of shape {shape}")
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        raise ValueError(f"{model} gave scores that are not probabilities")
    return scores


def decide(gain: float, low: float, rule: Rule, has_newer: bool) -> tuple[bool, str]:
    """Return whether a challenger above the floor is promoted, and the reason.

    Args:
        gain: in AUROC, over the model in production.
        low: lower bound of the gain.
        rule: has the margin.
        has_newer: whether the challenger was trained on more or fresher data.
    """
    if low > 0:
        return True, (
            f"better: the gain in AUROC is {gain:+.4f}, its lower bound {low:+.4f} is above 0"
        )
    # A bound that is NaN is within no margin.
    is_within_margin = low > -rule.margin and gain > 0
    if not is_within_margin:
        return False, f"not shown to be better: gain {gain:+.4f}, lower bound {low:+.4f}"
    if not has_newer:
        return False, (
            f"not shown to be better (gain {gain:+.4f}, lower bound {low:+.4f}),"
            " and it saw no new data"
        )
    return True, (
        f"not worse, with more or fresher data: gain {gain:+.4f},"
        f" lower bound {low:+.4f} is above -{rule.margin}"
    )
