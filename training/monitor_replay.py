"""The monitor run over the replayed slices: when it would have alarmed, and whether it was right.

A model is asked to predict every slice after its training. The monitor compares the features of a
slice with the rows of the training, as it does with requests. An alarm is right when a model that
was retrained for the slice ranks it better: then there was something to gain.
"""

from typing import Literal, TypedDict

import pandas as pd

from readmit.contract.definition import Contract
from training import drift, features
from training.drift import Rule
from training.model_metrics import Estimate, Floats, Ranking, estimate, resampled
from training.rolling_origin import Cut
from training.rolling_protocol import Protocol

Judgement = Literal["true", "false", "missed", "quiet"]


class ReplayedSlice(TypedDict):
    """What the monitor says of a slice, and what the model had lost by then.

    `auroc_lost` is against a model that was retrained for the slice; it is 0 for one that was.
    """

    number: int
    n: int
    drifted: list[str]
    auroc_lost: Estimate
    judgement: Judgement


class ReplayedModel(TypedDict):
    """One way to serve: the first model for ever (`kept`), or the newest one (`retrained`).

    `slices_late` is how many slices with a loss passed before the first alarm; None without either.
    """

    serves: Literal["kept", "retrained"]
    slices: list[ReplayedSlice]
    n_true: int
    n_false: int
    n_missed: int
    slices_late: int | None


def replay(protocol: Protocol, matrix: Floats, rule: Rule) -> list[ReplayedModel]:
    """Return what the monitor would have said of a model that is kept, and of retrained ones.

    Args:
        protocol: rows, cuts and bootstrap.
        matrix: scores (cuts, n) of a model by cut.
        rule: when the monitor calls a column drifted.
    """
    first = protocol.cuts[0]
    kept = [_slice(protocol, matrix, first, cut, rule) for cut in protocol.cuts]
    retrained = [_slice(protocol, matrix, cut, cut, rule) for cut in protocol.cuts]
    return [_summary("kept", kept), _summary("retrained", retrained)]


def drifted_columns(
    contract: Contract, reference: pd.DataFrame, current: pd.DataFrame, rule: Rule
) -> list[str]:
    """Return the inputs and history that the monitor would call drifted, largest shift first."""
    numbers = frozenset(feature.name for feature in contract.features if feature.kind == "number")
    drifted: list[str] = []
    for group in (contract.inputs, contract.history):
        names = features.names(group)
        shifts = drift.compare(
            reference[names], current[names], reference["patient_nbr"], numbers, rule
        )
        drifted += [shift.name for shift in shifts or [] if shift.drifted]
    return drifted


def judgement(is_alarm: bool, has_lost: bool) -> Judgement:
    """Return whether an alarm, or its absence, was right."""
    if is_alarm:
        return "true" if has_lost else "false"
    return "missed" if has_lost else "quiet"


def slices_late(judgements: list[Judgement]) -> int | None:
    """Return how many slices with a loss came before the first alarm; None without either."""
    n_missed = 0
    for verdict in judgements:
        if verdict in ("true", "false"):
            return n_missed
        n_missed += verdict == "missed"
    return n_missed or None


def _slice(protocol: Protocol, matrix: Floats, trained: Cut, cut: Cut, rule: Rule) -> ReplayedSlice:
    rows = slice(cut.first, cut.end)
    y = protocol.y[rows]
    model = Ranking(y, matrix[trained.number, rows])
    newest = Ranking(y, matrix[cut.number, rows])

    def lost(weights: Floats) -> float:
        return newest.auroc(weights) - model.auroc(weights)

    auroc_lost = estimate(lost, resampled(protocol.patients[rows], protocol.bootstrap))
    drifted = drifted_columns(
        protocol.contract, protocol.rows.iloc[: trained.first], protocol.rows.iloc[rows], rule
    )
    return {
        "number": cut.number,
        "n": len(y),
        "drifted": drifted,
        "auroc_lost": auroc_lost,
        "judgement": judgement(bool(drifted), auroc_lost["low"] > 0),
    }


def _summary(serves: Literal["kept", "retrained"], slices: list[ReplayedSlice]) -> ReplayedModel:
    judgements = [row["judgement"] for row in slices]
    return {
        "serves": serves,
        "slices": slices,
        "n_true": judgements.count("true"),
        "n_false": judgements.count("false"),
        "n_missed": judgements.count("missed"),
        "slices_late": slices_late(judgements),
    }
