"""Predefined patients: low, medium and high risk as the served model sees them, never a stored result.

The model's own examples are used when the API gives them; otherwise variations of the contract's defaults are scored
by the API and three are picked by their score.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ui.form import Field, Value

Row = dict[str, Value]
RANKS = {"low": 0.05, "medium": 0.5, "high": 0.98}
N_VARIATIONS = 120
N_CHANGED = 12
MOST_OPTIONS = 12  # a random code out of a long table would make odd patients


def variations(fields: Sequence[Field], n: int = N_VARIATIONS) -> list[Row]:
    """Return `n` rows of legal values around the defaults; the same ones each time."""
    draw = random.Random(20)  # noqa: S311  not for secrets: the examples must not change from visit to visit
    return [_variation(fields, draw) for _ in range(n)]


def _variation(fields: Sequence[Field], draw: random.Random) -> Row:
    row = {field.name: field.default for field in fields}
    varied = [field for field in fields if len(field.options) <= MOST_OPTIONS]
    for field in draw.sample(varied, min(N_CHANGED, len(varied))):
        row[field.name] = _legal(field, draw)
    return row


def _legal(field: Field, draw: random.Random) -> Value:
    if field.options:
        return draw.choice(field.options)
    if field.kind == "flag":
        return draw.random() < 0.5
    if field.low is None or field.high is None:
        return field.default
    usual = float(field.default)
    value = draw.triangular(
        field.low, min(field.high, max(2.5 * usual, usual + 4)), usual
    )  # the maximum is a freak
    return round(value) if field.is_whole else round(value, 1)


def pick(rows: Sequence[Row], probabilities: Sequence[float]) -> dict[str, Row]:
    """Return the rows at the low, middle and high end of the scores, by band name; empty without rows."""
    if not rows:
        return {}
    order = sorted(range(len(rows)), key=lambda index: probabilities[index])
    return {name: rows[order[int(rank * (len(order) - 1))]] for name, rank in RANKS.items()}


def inputs_of(row: Mapping[str, Any], fields: Sequence[Field]) -> Row:
    """Return what the form can show of an example; values that are no longer legal give way to the default."""
    return {field.name: _shown(row.get(field.name), field) for field in fields}


def _shown(value: Value | None, field: Field) -> Value:
    if value is None or (field.options and value not in field.options):
        return field.default
    return value


Scorer = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


def from_model(model: Mapping[str, Any], fields: Sequence[Field], score: Scorer) -> dict[str, Row]:
    """Return example patients by band: of the model's own examples, else of scored variations of the defaults."""
    own = model.get("examples") or []
    if own:
        rows = [inputs_of(example["features"], fields) for example in own]
        return pick(rows, [float(example["probability"]) for example in own])
    rows = variations(fields)
    return pick(rows, probabilities(score([dict(row) for row in rows]), len(rows)))


def probabilities(answer: Mapping[str, Any], n: int) -> list[float]:
    """Return the `n` probabilities of a batch answer.

    Raises:
        ValueError: the answer lacks some; then no picture of them would be honest.
    """
    answers = [each for each in answer["predictions"] if each]
    found = [float(each["probability"]) for each in answers if each.get("probability") is not None]
    if len(found) != n:
        raise ValueError(f"{n} rows were sent, {len(found)} scores came back")
    return found
