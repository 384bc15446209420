"""The fields that would move the score of one stay most, each changed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import Value
from ui.form import Field

MAX_OPTIONS = 40  # of a longer code table no value is more likely than another
N_SHOWN = 3


@dataclass(frozen=True)
class Change:
    """What one other value of a field would make of the score."""

    field: Field
    value: Value
    probability: float


def other_values(field: Field, current: Value) -> list[Value]:
    """Return the values to try: all legal ones, of a number those that are not rare."""
    if field.kind == "flag":
        return [not current]
    if field.options:
        if len(field.options) > MAX_OPTIONS:
            return []
        return [value for value in field.options if value != current]
    if field.low is None or field.high is None:
        return []
    usual = float(field.default)
    high = min(field.high, max(2 * usual, usual + 4))  # the maximum itself is a freak
    low = max(field.low, min(usual / 2, usual - 4))
    ends: list[Value] = [low, high]
    if field.is_whole:
        ends = [int(low), int(high)]
    return [end for end in ends if end != current]


def variations(fields: Sequence[Field], sent: Mapping[str, Value]) -> list[tuple[Field, Value]]:
    """Return every field with every other value that is tried."""
    changes = []
    for field in fields:
        for value in other_values(field, sent[field.name]):
            changes.append((field, value))
    return changes


def strongest(
    changes: Sequence[tuple[Field, Value]], scores: Sequence[float], probability: float
) -> list[Change]:
    """Return the strongest change of each field, of the fields that move the score most.

    Args:
        changes: fields and values, as `variations` returns them.
        scores: the score of each change, 0 to 1.
        probability: the score without a change.
    """
    by_field: dict[str, Change] = {}
    for (field, value), score in zip(changes, scores, strict=True):
        change = Change(field, value, score)
        former = by_field.get(field.name)
        if former is None or _distance(former, probability) < _distance(change, probability):
            by_field[field.name] = change
    moving = [change for change in by_field.values() if _distance(change, probability) > 0]
    moving.sort(key=lambda change: _distance(change, probability), reverse=True)
    return moving[:N_SHOWN]


def _distance(change: Change, probability: float) -> float:
    return abs(change.probability - probability)
