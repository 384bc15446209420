"""An operating point by capacity: a ward can call N of M discharged patients. Pure.

The threshold comes from stays that are over: the slice before, scored by a model that had not seen
it. It is then used on the next slice, which nobody knows yet. The number of calls is therefore
a promise that can be checked. Shapes: `y` (n,) of 0 and 1; `p` (n,) probabilities of class 1.
"""

import itertools
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from training import call_list, lace, rolling_origin
from training.model_metrics import (
    Estimate,
    Floats,
    Mask,
    Ranking,
    Statistic,
    estimate,
    resampled,
)
from training.rolling_protocol import Protocol

SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
RISKS = (0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)


class OperatingPoint(TypedDict):
    """What a ward gets that can call a share of its discharged patients."""

    share: float
    thresholds: list[float]
    called: Estimate
    found: Estimate
    ppv: Estimate
    calls_per_readmission: Estimate
    lace_found: Estimate
    found_more_than_lace: Estimate


class NetBenefit(TypedDict):
    """Net benefit per stay at a risk from which a call is worth its cost."""

    risk: float
    model: Estimate
    everybody: Estimate
    lace: Estimate
    model_over_best_other: Estimate


class Capacity(TypedDict):
    """The section `capacity` of `build/quality.json`."""

    n_stays: int
    lace_auroc: Estimate
    operating_points: list[OperatingPoint]
    net_benefit: list[NetBenefit]


def alerts(scores: Floats, protocol: Protocol, share: float) -> tuple[Mask, list[float]]:
    """Return who is called after the first slice, shape (n,), and the threshold of each slice.

    Args:
        scores: (n,) by the newest model before each row, NaN before the first cut.
        protocol: rows and cuts.
        share: of the stays that can be called.
    """
    is_called = np.zeros(len(scores), dtype=np.bool_)
    thresholds = []
    planned = protocol.cuts
    for before, cut in itertools.pairwise(planned):
        limit = call_list.threshold(scores[before.first : before.end], share)
        is_called[cut.first : cut.end] = scores[cut.first : cut.end] >= limit
        thresholds.append(limit)
    return is_called, thresholds


def benefit(y: Floats, is_called: Mask, risk: float) -> Statistic:
    """Return net benefit per stay as a function of row weights (Vickers and Elkin 2006)."""
    odds = risk / (1 - risk)
    gains = is_called * (y - odds * (1 - y))
    return lambda weights: float(np.average(gains, weights=weights))


def by_capacity(protocol: Protocol, matrix: Floats) -> Capacity:
    """Return operating points and net benefit of a model and of the LACE-like rule.

    Both are used on slices after their thresholds were set, and on the same stays.
    """
    scores = rolling_origin.newest(matrix, protocol.cuts)
    points = lace.points(protocol.contract, protocol.rows)
    rows = np.arange(len(scores)) >= protocol.cuts[1].first
    samples = resampled(protocol.patients[rows], protocol.bootstrap)
    y = protocol.y[rows]
    # Jitter below one point: ties of a whole-number score are called in random order.
    jitter = np.random.default_rng(protocol.bootstrap.seed).uniform(0, 0.5, len(points))
    operating_points = []
    for share in SHARES:
        is_called, thresholds = alerts(scores, protocol, share)
        by_lace, _ = alerts(points + jitter, protocol, share)
        called_by = {"model": is_called[rows], "lace": by_lace[rows]}
        operating_points.append(_operating_point(share, thresholds, y, called_by, samples))
    net_benefit = []
    for risk in RISKS:
        called_by = {"model": scores[rows] >= risk, "lace": points[rows] >= lace.HIGH_RISK}
        net_benefit.append(_net_benefit(risk, y, called_by, samples))
    return {
        "n_stays": int(rows.sum()),
        "lace_auroc": estimate(Ranking(y, points[rows]).auroc, samples),
        "operating_points": operating_points,
        "net_benefit": net_benefit,
    }


def _operating_point(
    share: float,
    thresholds: list[float],
    y: Floats,
    called_by: Mapping[str, Mask],
    samples: list[Floats],
) -> OperatingPoint:
    of_model = call_list.yields(y, called_by["model"])
    of_lace = call_list.yields(y, called_by["lace"])

    def more(weights: Floats) -> float:
        return of_model["found"](weights) - of_lace["found"](weights)

    return {
        "share": share,
        "thresholds": thresholds,
        "called": estimate(of_model["called"], samples),
        "found": estimate(of_model["found"], samples),
        "ppv": estimate(of_model["ppv"], samples),
        "calls_per_readmission": estimate(of_model["calls_per_readmission"], samples),
        "lace_found": estimate(of_lace["found"], samples),
        "found_more_than_lace": estimate(more, samples),
    }


def _net_benefit(
    risk: float, y: Floats, called_by: Mapping[str, Mask], samples: list[Floats]
) -> NetBenefit:
    everybody = benefit(y, np.ones(len(y), dtype=np.bool_), risk)
    by_model = benefit(y, called_by["model"], risk)
    by_lace = benefit(y, called_by["lace"], risk)

    def over_best_other(weights: Floats) -> float:
        return by_model(weights) - max(0.0, everybody(weights), by_lace(weights))

    return {
        "risk": risk,
        "model": estimate(by_model, samples),
        "everybody": estimate(everybody, samples),
        "lace": estimate(by_lace, samples),
        "model_over_best_other": estimate(over_best_other, samples),
    }
