"""The second protocol of `make quality`: models judged by rolling origin, as they will be used.

Each model is fitted on all stays before a cut and predicts the stays after it. The fits are shared
by all parts of the report, and their scores are stored, so that a stopped measurement continues.
"""

from dataclasses import replace
from typing import TypedDict

import numpy as np

from training import (
    decay,
    deciders,
    model_metrics,
    monitor_replay,
    recalibration,
    rolling_origin,
    subgroups,
    ward_capacity,
)
from training.decay import Decay
from training.deciders import Deciders
from training.drift import Rule
from training.model_metrics import Bootstrap, Estimate, Floats, Mask
from training.monitor_replay import ReplayedModel
from training.rolling_origin import Cut, Make
from training.rolling_protocol import Protocol
from training.subgroups import Subgroups
from training.ward_capacity import Capacity

DECAY_REPLICATES = 400  # each costs 110 rankings of a slice
METRICS = (
    "auroc",
    "average_precision",
    "brier_skill",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)


class Group(TypedDict):
    """Metrics of a group of stays; a metric without a value has NaN, which becomes null."""

    n: int
    n_readmitted: int
    metrics: dict[str, Estimate]


class SliceFigures(TypedDict):
    """Metrics of the newest model on the slice after its cut."""

    first_encounter_id: int
    last_encounter_id: int
    n_train: int
    share_returning: float
    n: int
    n_readmitted: int
    auroc: float
    average_precision: float


class ModelFigures(TypedDict):
    """One model by rolling origin: all stays, those of new and of returning patients, slices."""

    all: Group
    new: Group
    returning: Group
    slices: list[SliceFigures]


class Rolling(TypedDict):
    """The section `rolling` of `build/quality.json`."""

    n_cuts: int
    n_stays: int
    share_returning: float
    models: dict[str, ModelFigures]
    folds_on_same_stays: dict[str, Group]


class RollingReport(TypedDict):
    """The sections of `build/quality.json` by rolling origin.

    `decay_for_choices` and `monitor_replay` have no patients of the sealed test, neither in their
    fits nor in their figures.
    """

    rolling: Rolling
    capacity: Capacity
    decay: Decay
    decay_for_choices: Decay
    monitor_replay: list[ReplayedModel]
    deciders: list[Deciders]
    subgroups: Subgroups


def measure(
    candidate: str,
    models: dict[str, Make],
    out_of_folds: dict[str, Floats],
    protocol: Protocol,
    drift_rule: Rule,
) -> RollingReport:
    """Judge a candidate and its baselines by rolling origin.

    Args:
        candidate: the name of the model that operating points and decay are about.
        models: returns an unfitted Pipeline, by name.
        out_of_folds: out-of-fold scores (n,) by model.
        protocol: rows, cuts and bootstrap.
        drift_rule: when the monitor calls a column drifted.
    """
    matrices = {name: protocol.matrix(name, make) for name, make in models.items()}
    is_open = protocol.rows["split"] != "test"
    open_protocol = replace(protocol, rows=protocol.rows[is_open].reset_index(drop=True))
    open_matrix = open_protocol.matrix(f"open-{candidate}", models[candidate])
    protocol.show("figures by rolling origin")
    return {
        "rolling": rolling(protocol, matrices, out_of_folds),
        "capacity": ward_capacity.by_capacity(protocol, matrices[candidate]),
        "decay": aged(protocol, matrices[candidate]),
        "decay_for_choices": aged(open_protocol, open_matrix),
        "monitor_replay": monitor_replay.replay(open_protocol, open_matrix, drift_rule),
        "deciders": deciders.judge(protocol, matrices, out_of_folds),
        "subgroups": subgroups.judge(protocol, matrices[candidate]),
    }


def group(y: Floats, p: Floats, patients: np.ndarray, bootstrap: Bootstrap) -> Group:
    """Return the metrics of some stays, with intervals by patient bootstrap."""
    calibration = recalibration.statistics(y, p)
    by_name = model_metrics.with_intervals(y, p, patients, bootstrap, calibration)
    metrics = {name: by_name[name] for name in METRICS}
    return {"n": len(y), "n_readmitted": int(y.sum()), "metrics": metrics}


def rolling(protocol: Protocol, matrices: dict[str, Floats], folds: dict[str, Floats]) -> Rolling:
    """Return the figures of models by rolling origin, beside those by folds on the same stays.

    Args:
        protocol: rows, cuts and bootstrap.
        matrices: scores (cuts, n) by model.
        folds: out-of-fold scores (n,) by model.
    """
    patients = protocol.patients
    is_returning = rolling_origin.returning(patients, protocol.cuts)
    is_judged = protocol.is_judged
    models = {}
    for name, matrix in matrices.items():
        protocol.show(f"{name}: intervals by rolling origin")
        models[name] = _figures(protocol, matrix, is_returning)
    same_stays = {}
    for name, scores in folds.items():
        same_stays[name] = group(
            protocol.y[is_judged], scores[is_judged], patients[is_judged], protocol.bootstrap
        )
    return {
        "n_cuts": len(protocol.cuts),
        "n_stays": int(is_judged.sum()),
        "share_returning": float(is_returning[is_judged].mean()),
        "models": models,
        "folds_on_same_stays": same_stays,
    }


def _figures(protocol: Protocol, matrix: Floats, is_returning: Mask) -> ModelFigures:
    scores = rolling_origin.newest(matrix, protocol.cuts)

    def of(members: Mask) -> Group:
        return group(
            protocol.y[members], scores[members], protocol.patients[members], protocol.bootstrap
        )

    is_judged = protocol.is_judged
    return {
        "all": of(is_judged),
        "new": of(is_judged & ~is_returning),
        "returning": of(is_judged & is_returning),
        "slices": [_slice(protocol, scores, is_returning, cut) for cut in protocol.cuts],
    }


def _slice(protocol: Protocol, scores: Floats, is_returning: Mask, cut: Cut) -> SliceFigures:
    rows = slice(cut.first, cut.end)
    clock = protocol.rows[rolling_origin.CLOCK].iloc[rows]
    y = protocol.y[rows]
    ranking = model_metrics.Ranking(y, scores[rows])
    unweighted = np.ones(len(y))
    return {
        "first_encounter_id": int(clock.iloc[0]),
        "last_encounter_id": int(clock.iloc[-1]),
        "n_train": cut.first,
        "share_returning": float(is_returning[rows].mean()),
        "n": len(y),
        "n_readmitted": int(y.sum()),
        "auroc": ranking.auroc(unweighted),
        "average_precision": ranking.average_precision(unweighted),
    }


def aged(protocol: Protocol, matrix: Floats) -> Decay:
    """Return how long a model stays good, from its scores by the models of all cuts."""
    replicates = min(DECAY_REPLICATES, protocol.bootstrap.replicates)
    bootstrap = replace(protocol.bootstrap, replicates=replicates)
    samples = model_metrics.resampled(protocol.patients, bootstrap)
    return decay.measure(decay.Replay(protocol.y, matrix, protocol.cuts, samples))
