"""Example patients of low, medium and high risk, as the served model scores them.

The API scores variations of the contract's defaults; three are chosen by their score.
"""

import random
from collections.abc import Callable, Mapping, Sequence

from readmit.client.answer_types import BatchAnswer, Value
from ui.form import Field

Row = dict[str, Value]
Scorer = Callable[[Sequence[Mapping[str, Value]]], BatchAnswer]
RANKS = {"low": 0.05, "medium": 0.5, "high": 0.98}
N_VARIATIONS = 120
N_CHANGED = 12
MAX_OPTIONS = 12  # a random code out of a long table would make odd patients


class IncompleteAnswer(Exception):
    """The API scored fewer rows than were sent."""

    def __init__(self, sent: int, received: int) -> None:
        super().__init__(f"{sent} rows were sent, {received} scores came back")
        self.sent = sent
        self.received = received


def variations(fields: Sequence[Field], n: int = N_VARIATIONS) -> list[Row]:
    """Return `n` rows of legal values around the defaults; the same rows each time."""
    draw = random.Random(20)  # noqa: S311  no secret: examples must not change between visits
    variable = [field for field in fields if len(field.options) <= MAX_OPTIONS]
    rows = []
    for _ in range(n):
        row = {field.name: field.default for field in fields}
        for field in draw.sample(variable, min(N_CHANGED, len(variable))):
            row[field.name] = _legal_value(field, draw)
        rows.append(row)
    return rows


def _legal_value(field: Field, draw: random.Random) -> Value:
    if field.options:
        return draw.choice(field.options)
    if field.kind == "flag":
        return draw.random() < 0.5
    if field.low is None or field.high is None:
        return field.default
    usual = float(field.default)
    high = min(field.high, max(2.5 * usual, usual + 4))  # the maximum itself is a freak
    value = draw.triangular(field.low, high, usual)
    if field.is_whole:
        return round(value)
    return round(value, 1)


def by_band(fields: Sequence[Field], score: Scorer) -> dict[str, Row]:
    """Return an example patient for each risk band."""
    rows = variations(fields)
    return pick(rows, probabilities(score(rows), len(rows)))


def pick(rows: Sequence[Row], scores: Sequence[float]) -> dict[str, Row]:
    """Return the rows at the low, middle and high end of the scores; empty without rows."""
    if not rows:
        return {}
    order = sorted(range(len(rows)), key=scores.__getitem__)
    return {band: rows[order[int(rank * (len(order) - 1))]] for band, rank in RANKS.items()}


def probabilities(answer: BatchAnswer, n_rows: int) -> list[float]:
    """Return the probability of each row of a batch.

    Raises:
        IncompleteAnswer: some are missing; then no picture of them would be honest.
    """
    scores = [stay["probability"] for stay in answer["predictions"] if stay is not None]
    if len(scores) != n_rows:
        raise IncompleteAnswer(n_rows, len(scores))
    return scores
