"""The fields that would move the score of one stay most, each changed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import Value
from ui.form import Field

MAX_OPTIONS = 40  # a longer code table, such as that of diagnoses, is left out
SMALLEST_STEP = 4  # a number is tried this far from its usual value, or further
N_SHOWN = 3


@dataclass(frozen=True)
class Change:
    """What one other value of a field would make of the score."""

    field: Field
    value: Value
    probability: float


def other_values(field: Field, current: Value) -> list[Value]:
    """Return the values to try: all legal ones of a choice, of a number a low and a high one.

    They are half and twice its usual value, not the ends of its range: those belong to single
    patients.
    """
    if field.kind == "flag":
        return [not current]
    if field.options:
        if len(field.options) > MAX_OPTIONS:
            return []
        return [value for value in field.options if value != current]
    if field.low is None or field.high is None:
        return []
    usual = float(field.default)
    high = min(field.high, max(2 * usual, usual + SMALLEST_STEP))
    low = max(field.low, min(usual / 2, usual - SMALLEST_STEP))
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
    """Return the fields that move the score most, each with its strongest change.

    Args:
        changes: fields and values, as `variations` returns them.
        scores: the score of each change, 0 to 1.
        probability: the score without a change.
    """
    possible = []
    for (field, value), score in zip(changes, scores, strict=True):
        if score != probability:
            possible.append(Change(field, value, score))
    possible.sort(key=lambda change: abs(change.probability - probability), reverse=True)
    by_field: dict[str, Change] = {}
    for change in possible:
        by_field.setdefault(change.field.name, change)
    return list(by_field.values())[:N_SHOWN]
