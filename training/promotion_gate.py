"""The gate: promote on evidence, keep otherwise. Pure; who calls it fails closed.

Challenger and production are scored on the same frozen validation rows. The gain in AUROC is resampled by patient,
paired: each replicate weighs both with the same patients.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from training.model_metrics import Bootstrap, Ranking, resampled

METRIC = "auroc"


@dataclass(frozen=True)
class Rule:
    """When a challenger is promoted."""

    floor: float
    margin: float
    bootstrap: Bootstrap


@dataclass(frozen=True)
class Verdict:
    """A decision with its evidence; scores are AUROC on the validation rows, the interval is 95 %."""

    promote: bool
    reason: str
    challenger_score: float | None = None
    production_score: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON-able values."""
        return asdict(self)


def judge(
    y: ArrayLike,
    challenger: ArrayLike,
    production: ArrayLike | None,
    *,
    patients: ArrayLike,
    rule: Rule,
    has_newer: bool,
) -> Verdict:
    """Decide.

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
    scores = [
        _checked(p, np.shape(y), who)
        for p, who in ((challenger, "challenger"), (production, "production"))
    ]
    ones = np.ones(np.shape(y)[0])
    new = Ranking(y, scores[0])
    score = new.auroc(ones)
    if score < rule.floor:
        return Verdict(False, f"AUROC {score:.4f} is below the floor of {rule.floor}", score)
    if production is None:
        return Verdict(
            True, "there is no model in production, and the challenger is above the floor", score
        )
    old = Ranking(y, scores[1])
    gains = [new.auroc(w) - old.auroc(w) for w in resampled(patients, rule.bootstrap)]
    low, high = (float(value) for value in np.nanpercentile(gains, [2.5, 97.5]))
    gain = score - old.auroc(ones)
    promote, reason = _reason(gain, low, rule, has_newer)
    return Verdict(promote, reason, score, old.auroc(ones), gain, low, high)


def _checked(p: ArrayLike | None, shape: tuple[int, ...], who: str) -> np.ndarray:
    scores = np.zeros(shape) if p is None else np.asarray(p, dtype=np.float64)
    if scores.shape != shape:
        raise ValueError(f"{who} gave scores of shape {scores.shape} for rows of shape {shape}")
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        raise ValueError(f"{who} gave scores that are not probabilities")
    return scores


def _reason(gain: float, low: float, rule: Rule, has_newer: bool) -> tuple[bool, str]:
    if low > 0:
        return (
            True,
            f"better: the gain in AUROC is {gain:+.4f}, its lower bound {low:+.4f} is above 0",
        )
    if low > -rule.margin and gain > 0 and has_newer:
        return True, (
            f"not worse, with more or fresher data: gain {gain:+.4f}, lower bound {low:+.4f} is above -{rule.margin}"
        )
    if low > -rule.margin and gain > 0:
        return (
            False,
            f"not shown to be better (gain {gain:+.4f}, lower bound {low:+.4f}), and it saw no new data",
        )
    return False, f"not shown to be better: gain {gain:+.4f}, lower bound {low:+.4f}"
