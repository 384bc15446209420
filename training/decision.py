"""What a score is used for: an operating point from stated costs, a decision curve, and who it works for.

Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.model_metrics import Bootstrap, Floats, Ranking, interval, resampled

SMALLEST_SLICE = 200  # rows; an interval of fewer says nothing
CURVE = np.round(np.arange(0.02, 0.41, 0.02), 2)


@dataclass(frozen=True)
class Costs:
    """Cost of a follow-up call, cost of a readmission (one currency), and the share of readmissions a call prevents."""

    follow_up: float
    readmission: float
    effect: float

    @property
    def break_even(self) -> float:
        """Return the risk at which a call is worth its cost, if probabilities are calibrated."""
        return self.follow_up / (self.readmission * self.effect)

    def saved(self, y: ArrayLike, alert: ArrayLike) -> float:
        """Return the money saved per stay by calling those with `alert`, against calling nobody."""
        outcome, called = np.asarray(y, dtype=float), np.asarray(alert, dtype=float)
        return float((called * (outcome * self.readmission * self.effect - self.follow_up)).mean())


def choose_threshold(y: ArrayLike, p: ArrayLike, costs: Costs) -> float:
    """Return the threshold with the largest saving on validation rows; ties go to the one nearest to break-even."""
    risk = np.asarray(p, dtype=float)
    options = np.unique(np.append(np.quantile(risk, np.linspace(0.02, 0.98, 97)), costs.break_even))
    saved = np.array([costs.saved(y, risk >= option) for option in options])
    best = options[saved >= saved.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - costs.break_even))])


def operating_point(y: ArrayLike, p: ArrayLike, threshold: float, costs: Costs) -> dict[str, float]:
    """Return what a threshold means: share of stays with an alert, sensitivity, specificity, PPV, saving per stay."""
    outcome, alert = np.asarray(y, dtype=bool), np.asarray(p, dtype=float) >= threshold
    hits = float((alert & outcome).sum())
    return {
        "threshold": float(threshold),
        "alert_rate": float(alert.mean()),
        "sensitivity": hits / max(1.0, float(outcome.sum())),
        "specificity": float((~alert & ~outcome).sum()) / max(1.0, float((~outcome).sum())),
        "ppv": hits / max(1.0, float(alert.sum())),
        "saved_per_stay": costs.saved(outcome, alert),
        "break_even_risk": costs.break_even,
    }


def decision_curve(y: ArrayLike, p: ArrayLike) -> list[dict[str, float]]:
    """Return net benefit over thresholds, beside calling everybody (Vickers and Elkin 2006)."""
    outcome, risk = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    prevalence = float(outcome.mean())
    curve = []
    for threshold in CURVE:
        alert, odds = risk >= threshold, threshold / (1 - threshold)
        benefit = float((alert * outcome).mean() - odds * (alert * (1 - outcome)).mean())
        everybody = prevalence - odds * (1 - prevalence)
        curve.append(
            {"threshold": float(threshold), "net_benefit": benefit, "call_everybody": everybody}
        )
    return curve


def slices(
    frame: pd.DataFrame, y: ArrayLike, p: ArrayLike, bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Return AUROC by race, gender, age and first or repeat stay, with intervals and a warning where it falls behind.

    Args:
        frame: rows with `patient_nbr` and the columns that define slices.
        y: (n,) outcomes.
        p: (n,) probabilities.
        bootstrap: samples per slice.
    """
    outcome, risk = np.asarray(y), np.asarray(p)
    overall = Ranking(outcome, risk).auroc(np.ones(len(risk)))
    groups = {"race": frame["race"], "gender": frame["gender"], "age": frame["age_band"]}
    groups["stay"] = pd.Series(
        np.where(frame["n_prior_stays"] > 0, "repeat", "first"), index=frame.index
    )
    found = []
    for name, values in groups.items():
        for value in sorted(values.unique()):
            chosen = (values == value).to_numpy()
            if chosen.sum() >= SMALLEST_SLICE and 0 < outcome[chosen].sum() < chosen.sum():
                samples = resampled(frame["patient_nbr"].to_numpy()[chosen], bootstrap)
                row = _slice(outcome[chosen], risk[chosen], samples, overall)
                found.append({"slice": name, "value": str(value), **row})
    return found


def _slice(y: Floats, p: Floats, samples: list[Floats], overall: float) -> dict[str, Any]:
    ranking = Ranking(y, p)
    low, high = interval(ranking.auroc, samples)
    return {
        "n": len(y),
        "observed": float(y.mean()),
        "predicted": float(p.mean()),
        "auroc": ranking.auroc(np.ones(len(y))),
        "low": low,
        "high": high,
        "falls_behind": bool(high < overall),
    }
