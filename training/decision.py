"""Use a score: an operating point from stated costs, a decision curve, and quality by slice.

Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from training.model_metrics import Bootstrap, Ranking, interval, resampled

MIN_SLICE_ROWS = 200  # an interval of fewer rows is too wide to use
CURVE_THRESHOLDS = np.round(np.arange(0.02, 0.41, 0.02), 2)


class SliceMetrics(TypedDict):
    """Quality of a model on the rows of one slice, for example `race` = `Other`."""

    slice: str
    value: str
    n: int
    observed: float
    predicted: float
    auroc: float
    low: float
    high: float
    falls_behind: bool


@dataclass(frozen=True)
class Costs:
    """The costs that a threshold is chosen by.

    `follow_up` is the cost of a call after discharge and `readmission` that of a readmission, in
    one currency; `effect` is the share of readmissions that a call prevents.
    """

    follow_up: float
    readmission: float
    effect: float

    @property
    def break_even(self) -> float:
        """Return the risk at which a call is worth its cost, if probabilities are calibrated."""
        return self.follow_up / (self.readmission * self.effect)

    def saved(self, y: ArrayLike, alert: ArrayLike) -> float:
        """Return the money saved per stay by calling those with `alert`, against calling nobody."""
        outcome = np.asarray(y, dtype=float)
        called = np.asarray(alert, dtype=float)
        return float((called * (outcome * self.readmission * self.effect - self.follow_up)).mean())


def choose_threshold(y: ArrayLike, p: ArrayLike, costs: Costs) -> float:
    """Return the threshold with the largest saving on validation rows.

    Of equal savings, it is the one nearest to break-even.
    """
    risk = np.asarray(p, dtype=float)
    quantiles = np.quantile(risk, np.linspace(0.02, 0.98, 97))
    thresholds = np.unique(np.append(quantiles, costs.break_even))
    saved = np.array([costs.saved(y, risk >= threshold) for threshold in thresholds])
    best = thresholds[saved >= saved.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - costs.break_even))])


def operating_point(y: ArrayLike, p: ArrayLike, threshold: float, costs: Costs) -> dict[str, float]:
    """Return the effect of a threshold.

    Returns:
        Share of stays with an alert, sensitivity, specificity, PPV and saving per stay.
    """
    outcome = np.asarray(y, dtype=bool)
    alert = np.asarray(p, dtype=float) >= threshold
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
    """Return net benefit over thresholds, by the model and when everybody is called.

    Source: Vickers and Elkin 2006.
    """
    outcome = np.asarray(y, dtype=float)
    risk = np.asarray(p, dtype=float)
    prevalence = float(outcome.mean())
    curve = []
    for threshold in CURVE_THRESHOLDS:
        alert = risk >= threshold
        odds = threshold / (1 - threshold)
        benefit = float((alert * outcome).mean() - odds * (alert * (1 - outcome)).mean())
        everybody = prevalence - odds * (1 - prevalence)
        curve.append(
            {"threshold": float(threshold), "net_benefit": benefit, "call_everybody": everybody}
        )
    return curve


def slices(
    frame: pd.DataFrame, y: ArrayLike, p: ArrayLike, bootstrap: Bootstrap
) -> list[SliceMetrics]:
    """Return AUROC by race, gender, age and first or repeated stay, with intervals.

    A slice falls behind when the upper bound of its AUROC is below the AUROC of all rows.

    Args:
        frame: rows with `patient_nbr` and the columns that define slices.
        y: (n,) outcomes.
        p: (n,) probabilities.
        bootstrap: samples per slice.
    """
    outcome = np.asarray(y)
    risk = np.asarray(p)
    patients = frame["patient_nbr"].to_numpy()
    overall = Ranking(outcome, risk).auroc(np.ones(len(risk)))
    stay = pd.Series(np.where(frame["n_prior_stays"] > 0, "repeat", "first"), index=frame.index)
    groups = {
        "race": frame["race"],
        "gender": frame["gender"],
        "age": frame["age_band"],
        "stay": stay,
    }
    rows: list[SliceMetrics] = []
    for name, values in groups.items():
        for value in sorted(values.unique()):
            members = (values == value).to_numpy()
            n = int(members.sum())
            has_both_outcomes = 0 < outcome[members].sum() < n
            if n < MIN_SLICE_ROWS or not has_both_outcomes:
                continue
            ranking = Ranking(outcome[members], risk[members])
            low, high = interval(ranking.auroc, resampled(patients[members], bootstrap))
            rows.append(
                {
                    "slice": name,
                    "value": str(value),
                    "n": n,
                    "observed": float(outcome[members].mean()),
                    "predicted": float(risk[members].mean()),
                    "auroc": ranking.auroc(np.ones(n)),
                    "low": low,
                    "high": high,
                    "falls_behind": bool(high < overall),
                }
            )
    return rows
