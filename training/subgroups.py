"""For whom a model works: groups of patients and their pairs, by rolling origin. Pure.

With hundreds of groups, one in twenty intervals misses by chance. The intervals here are widened
for the number of groups (Bonferroni), so that all of them hold together in 95 of 100 cases.

`expected_auroc` is what the model's own probabilities say that its AUROC should be in a group (van
Klaveren et al. 2016, "model-based concordance"). A group whose AUROC is low and as expected has
patients who resemble each other. One whose AUROC is below it has patients whom the model gets
wrong.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypedDict

import numpy as np
import pandas as pd

from training import call_list, recalibration, rolling_origin, ward_capacity
from training.model_metrics import Estimate, Floats, Mask, Ranking, Statistic, resampled
from training.rolling_protocol import Protocol

MIN_ROWS = 300
MIN_CASES = 20  # readmissions that a standard error needs
REPLICATES = 200  # of a standard error, which needs fewer than a percentile
SHARE = 0.1  # the ward's capacity at which sensitivity and PPV are reported
ERROR = 0.05
COLUMNS = {
    "race": "race",
    "gender": "gender",
    "age": "age_band",
    "payer": "payer_code",
    "admission": "admission_type_group",
}


class Subgroup(TypedDict):
    """One group of stays, such as `age=[80-90) & stay=first`."""

    name: str
    n: int
    n_readmitted: int
    observed: float
    predicted: float
    auroc: Estimate
    expected_auroc: float
    calibration_intercept: Estimate
    sensitivity: Estimate
    ppv: Estimate
    falls_behind: bool
    is_miscalibrated: bool


class Subgroups(TypedDict):
    """The section `subgroups` of `build/quality.json`."""

    n_stays: int
    share_called: float
    auroc: float
    expected_auroc: float
    z: float
    groups: list[Subgroup]


def members(rows: pd.DataFrame) -> Iterator[tuple[str, Mask]]:
    """Yield the name and the rows of each group and each pair of groups that is large enough."""
    columns = {name: rows[column].to_numpy(dtype=str) for name, column in COLUMNS.items()}
    columns["stay"] = np.where(rows["n_prior_stays"] > 0, "repeat", "first")
    singles = []
    for name, values in columns.items():
        for value in np.unique(values):
            is_member = values == value
            if is_member.sum() >= MIN_ROWS:
                singles.append((name, f"{name}={value}", is_member))
    for _, label, is_member in singles:
        yield label, is_member
    for (name, label, is_member), (other, other_label, is_other) in itertools.combinations(
        singles, 2
    ):
        in_both = is_member & is_other
        if name != other and in_both.sum() >= MIN_ROWS:
            yield f"{label} & {other_label}", in_both


def judge(protocol: Protocol, matrix: Floats) -> Subgroups:
    """Return the figures of each group, on the slices after the first, at a call for one in ten."""
    scores = rolling_origin.newest(matrix, protocol.cuts)
    is_called, _ = ward_capacity.alerts(scores, protocol, SHARE)
    later = slice(protocol.cuts[1].first, None)
    rows = protocol.rows.iloc[later]
    y = protocol.y[later]
    p = scores[later]
    alert = is_called[later]
    bootstrap = replace(
        protocol.bootstrap, replicates=min(REPLICATES, protocol.bootstrap.replicates)
    )
    samples = resampled(protocol.patients[later], bootstrap)
    judged_groups = []
    for name, is_member in members(rows):
        n_cases = y[is_member].sum()
        if MIN_CASES <= n_cases <= is_member.sum() - MIN_CASES:
            judged_groups.append((name, is_member))
    z = NormalDist().inv_cdf(1 - ERROR / 2 / max(1, len(judged_groups)))
    overall = Ranking(y, p).auroc(np.ones(len(y)))
    groups = []
    for name, is_member in judged_groups:
        weights = [sample[is_member] for sample in samples]
        stays = Stays(y[is_member], p[is_member], alert[is_member], weights)
        groups.append(subgroup(name, stays, overall, z))
    return {
        "n_stays": len(y),
        "share_called": SHARE,
        "auroc": overall,
        "expected_auroc": expected_auroc(p),
        "z": z,
        "groups": groups,
    }


@dataclass(frozen=True)
class Stays:
    """The stays of a group, with the bootstrap samples of their patients."""

    y: Floats
    p: Floats
    is_called: Mask
    samples: list[Floats]


def subgroup(name: str, stays: Stays, overall: float, z: float) -> Subgroup:
    """Return the figures of one group.

    Args:
        name: of the group.
        stays: of the group.
        overall: AUROC of all stays.
        z: standard errors to each side of an interval.
    """
    auroc = widened(Ranking(stays.y, stays.p).auroc, stays.samples, z)
    calibration = recalibration.statistics(stays.y, stays.p)
    intercept = widened(calibration["calibration_intercept"], stays.samples, z)
    brought = call_list.yields(stays.y, stays.is_called)
    return {
        "name": name,
        "n": len(stays.y),
        "n_readmitted": int(stays.y.sum()),
        "observed": float(stays.y.mean()),
        "predicted": float(stays.p.mean()),
        "auroc": auroc,
        "expected_auroc": expected_auroc(stays.p),
        "calibration_intercept": intercept,
        "sensitivity": widened(brought["found"], stays.samples, z),
        "ppv": widened(brought["ppv"], stays.samples, z),
        "falls_behind": auroc["high"] < overall,
        "is_miscalibrated": intercept["low"] > 0 or intercept["high"] < 0,
    }


def widened(statistic: Statistic, samples: list[Floats], z: float) -> Estimate:
    """Return a statistic with `z` standard errors to each side; NaN where it has no value."""
    figure = float(statistic(np.ones(len(samples[0]))))
    values = np.array([statistic(weights) for weights in samples])
    defined = values[np.isfinite(values)]
    error = np.nan
    if len(defined) > 1:
        error = float(defined.std(ddof=1))
    return {"figure": figure, "low": figure - z * error, "high": figure + z * error}


def expected_auroc(p: Floats) -> float:
    """Return the AUROC that probabilities would have if they were right."""
    return Ranking(p, p).auroc(np.ones(len(p)))
