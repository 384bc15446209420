"""Drift of requests from the rows that a model learned from: distance, test, effect size. Pure.

The distance is total variation: the share of requests that would have to change for both
distributions to be equal. Chance alone gives a distance above 0, and a larger one with few requests
or many values. Draws of patients from the reference show the distance by chance. A column has
drifted when its distance is beyond that and large enough to matter. The test uses the largest
deviation of all columns in a draw (Westfall and Young 1993), so that many columns do not cause
false alarms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 10  # of a number, at quantiles of the reference
RARE = 0.01  # values with a smaller share of the reference are counted together
OTHER = "(rare)"
NEW = "(new)"
MISSING = "(missing)"


@dataclass(frozen=True)
class Rule:
    """When a column counts as drifted.

    `alpha` is the chance of one false alarm or more among the columns that are compared together.
    `threshold` is the smallest distance beyond chance that matters. With fewer than `least_rows`
    requests there is no verdict.
    """

    threshold: float
    alpha: float
    least_rows: int
    replicates: int
    seed: int


@dataclass(frozen=True)
class Shift:
    """The drift of one column.

    `distance` is the distance beyond `by_chance`. `p` is adjusted for all columns that are compared
    with it.
    """

    name: str
    distance: float
    by_chance: float
    p: float
    drifted: bool
    reference: dict[str, float]
    current: dict[str, float]


@dataclass(frozen=True)
class Cut:
    """How the values of one column become a few codes, decided on the reference alone."""

    labels: tuple[str, ...]
    edges: tuple[float, ...] | None = None
    reference_values: frozenset[str] = frozenset()  # of a category: all others are new

    @classmethod
    def of(cls, reference: pd.Series, *, number: bool) -> "Cut":
        """Cut a number at its quantiles; keep the frequent values of a category."""
        values = reference.dropna()
        if not number:
            shares = values.value_counts(normalize=True)
            frequent = sorted(map(str, shares.index[shares >= RARE]))
            labels = (*frequent, OTHER, NEW, MISSING)
            return cls(labels, reference_values=frozenset(map(str, shares.index)))
        levels = np.arange(1, BINS) / BINS
        quantiles = np.quantile(values.to_numpy(dtype=np.float64), levels, method="inverted_cdf")
        edges = np.unique(quantiles).tolist()
        ends = [f"{edge:g}" for edge in edges]
        between = [f"over {low} to {high}" for low, high in pairwise(ends)]
        labels = (f"up to {ends[0]}", *between, f"over {ends[-1]}", MISSING)
        return cls(labels, tuple(edges))

    def codes(self, values: pd.Series) -> Codes:
        """Return the index of each value in `labels`."""
        missing = len(self.labels) - 1
        if self.edges is not None:
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
            bins = np.searchsorted(self.edges, numbers, side="left")
            return np.where(np.isnan(numbers), missing, bins)
        new = missing - 1
        rare = missing - 2
        code_of = dict.fromkeys(self.reference_values, rare)
        for code, label in enumerate(self.labels[:rare]):
            code_of[label] = code
        positions, distinct = pd.factorize(values)
        codes = [code_of.get(str(value), new) for value in distinct]
        return np.array([*codes, missing])[positions]  # a missing value has the position -1


class Table:
    """The columns of reference and requests as codes of one long histogram.

    With one histogram, a draw costs one count for all columns.
    """

    def __init__(
        self, reference: pd.DataFrame, current: pd.DataFrame, numbers: frozenset[str]
    ) -> None:
        self.names = list(reference.columns)
        self.cuts = [Cut.of(reference[name], number=name in numbers) for name in self.names]
        widths = [len(cut.labels) for cut in self.cuts]
        self.starts = np.concatenate([[0], np.cumsum(widths)])
        self.reference = self._codes(reference)
        self.current = self._codes(current)
        self.expected = self.shares(self.reference)

    def _codes(self, frame: pd.DataFrame) -> Codes:
        columns = []
        for name, cut, start in zip(self.names, self.cuts, self.starts[:-1], strict=True):
            columns.append(cut.codes(frame[name]) + start)
        return np.column_stack(columns)

    def shares(self, codes: Codes) -> Floats:
        """Return the share of each value of each column."""
        return np.bincount(codes.ravel(), minlength=int(self.starts[-1])) / len(codes)

    def distances(self, codes: Codes) -> Floats:
        """Return the total variation of each column from the reference."""
        return np.add.reduceat(np.abs(self.shares(codes) - self.expected), self.starts[:-1]) / 2

    def by_value(self, shares: Floats, column: int) -> dict[str, float]:
        """Return the shares of the values of one column."""
        column_shares = shares[self.starts[column] : self.starts[column + 1]]
        return dict(zip(self.cuts[column].labels, column_shares.tolist(), strict=True))


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    patients: ArrayLike,
    numbers: frozenset[str],
    rule: Rule,
) -> list[Shift] | None:
    """Compare requests with the reference, column by column.

    Args:
        reference: rows that the model learned from; its columns are compared.
        current: requests, with the same columns.
        patients: the patient of each row of `reference`: stays of one patient are drawn together.
        numbers: the columns that are numbers; all others are categories.
        rule: when a column counts as drifted.

    Returns:
        The columns, largest distance first, or None when there are too few requests.
    """
    if len(current) < rule.least_rows:
        return None
    table = Table(reference, current[reference.columns], numbers)
    by_chance, distance, p = _test_columns(table, patients, rule)
    current_shares = table.shares(table.current)
    shifts = []
    for i, name in enumerate(table.names):
        shift = Shift(
            name=name,
            distance=max(0.0, float(distance[i])),
            by_chance=float(by_chance[i]),
            p=float(p[i]),
            drifted=bool(distance[i] >= rule.threshold and p[i] <= rule.alpha),
            reference=table.by_value(table.expected, i),
            current=table.by_value(current_shares, i),
        )
        shifts.append(shift)
    return sorted(shifts, key=lambda shift: -shift.distance)


def _test_columns(table: Table, patients: ArrayLike, rule: Rule) -> tuple[Floats, Floats, Floats]:
    """Return for each column the mean distance by chance, the distance beyond it, and adjusted p.

    The arrays have the shape (columns,).
    """
    n_reference = len(table.reference)
    n_current = len(table.current)
    # The reference has a sampling error of its own, which a draw from it does not have. A smaller
    # draw makes up for it: it is as far from the reference as two samples are from each other.
    n = max(1, round(n_current * n_reference / (n_current + n_reference)))
    draws = np.array([table.distances(table.reference[rows]) for rows in _draws(patients, n, rule)])
    by_chance = draws.mean(axis=0)
    spread = np.maximum(draws.std(axis=0), 1 / n)
    largest = ((draws - by_chance) / spread).max(axis=1)
    distance = table.distances(table.current) - by_chance
    p = (1 + (largest >= (distance / spread)[:, None]).sum(axis=1)) / (1 + rule.replicates)
    return by_chance, distance, p


def _draws(patients: ArrayLike, n: int, rule: Rule) -> Iterator[Codes]:
    """Yield draws of `n` rows of random patients: requests as they would be without drift."""
    by_patient = np.argsort(np.asarray(patients), kind="stable")
    _, first, size = np.unique(
        np.asarray(patients)[by_patient], return_index=True, return_counts=True
    )
    rng = np.random.default_rng(rule.seed)
    for _ in range(rule.replicates):
        drawn = rng.integers(len(first), size=n)
        lengths = size[drawn]
        ends = np.cumsum(lengths)
        # All rows of the drawn patients, patient by patient.
        starts: Codes = np.repeat(first[drawn] - (ends - lengths), lengths)
        rows = starts + np.arange(ends[-1])
        yield by_patient[rows[:n]]
