"""Have the requests drifted from the rows that a model learned from? A distance, a test and an effect size. Pure.

The distance is total variation: the share of requests that would have to change for both distributions to be the same.
Chance alone gives a distance above 0, the more so with few requests and many values. What chance gives is found by
drawing patients from the reference; a column has drifted when the distance is beyond that (by the largest deviation of
all columns in a draw: Westfall and Young 1993, so that many columns make no false alarm) and large enough to matter.
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
OTHER, NEW, MISSING = "(rare)", "(new)", "(missing)"


@dataclass(frozen=True)
class Rule:
    """When a column counts as drifted.

    `alpha` is the chance of one false alarm or more among the columns that are compared together; `threshold` the
    smallest distance beyond chance that matters; with fewer than `least_rows` requests nothing is said.
    """

    threshold: float
    alpha: float
    least_rows: int
    replicates: int
    seed: int


@dataclass(frozen=True)
class Shift:
    """One column: `distance` is what stands beyond `by_chance`; `p` is adjusted for all columns compared with it."""

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

    @classmethod
    def of(cls, reference: pd.Series, *, number: bool) -> "Cut":
        """Cut a number at its quantiles, and keep the values of a category that are not rare."""
        if number:
            known = reference.dropna().to_numpy(dtype=np.float64)
            edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf"))
            ends = [f"{edge:g}" for edge in edges]
            between = [f"over {a} to {b}" for a, b in pairwise(ends)]
            labels = (f"up to {ends[0]}", *between, f"over {ends[-1]}", MISSING)
            return cls(labels, tuple(float(edge) for edge in edges))
        shares = reference.dropna().astype(str).value_counts(normalize=True)
        return cls((*sorted(shares[shares >= RARE].index), OTHER, NEW, MISSING))

    def codes(self, values: pd.Series, seen: frozenset[str]) -> Codes:
        """Return the place of each value among `labels`; `seen` are the values of the reference."""
        last = len(self.labels) - 1
        if self.edges is not None:
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
            return np.where(
                np.isnan(numbers), last, np.searchsorted(self.edges, numbers, side="left")
            )
        place = dict.fromkeys(seen, last - 2) | {
            label: i for i, label in enumerate(self.labels[:-3])
        }
        found = values.astype(str).map(place).fillna(last - 1).to_numpy(dtype=np.int64)
        return np.where(values.isna().to_numpy(), last, found)


class Table:
    """The columns of reference and requests as codes of one long histogram, so that a draw costs one count."""

    def __init__(
        self, reference: pd.DataFrame, current: pd.DataFrame, numbers: frozenset[str]
    ) -> None:
        self.names = list(reference.columns)
        self.cuts = [Cut.of(reference[name], number=name in numbers) for name in self.names]
        widths = [len(cut.labels) for cut in self.cuts]
        self.starts = np.concatenate([[0], np.cumsum(widths)])
        self.reference, self.current = (
            self._codes(reference, reference),
            self._codes(current, reference),
        )
        self.expected = self.shares(self.reference)

    def _codes(self, frame: pd.DataFrame, reference: pd.DataFrame) -> Codes:
        columns = [
            cut.codes(frame[name], frozenset(reference[name].dropna().astype(str).unique())) + start
            for name, cut, start in zip(self.names, self.cuts, self.starts[:-1], strict=True)
        ]
        return np.column_stack(columns)

    def shares(self, codes: Codes) -> Floats:
        """Return the share of each value of each column."""
        return np.bincount(codes.ravel(), minlength=int(self.starts[-1])) / len(codes)

    def distances(self, codes: Codes) -> Floats:
        """Return the total variation of each column from the reference."""
        return np.add.reduceat(np.abs(self.shares(codes) - self.expected), self.starts[:-1]) / 2

    def by_value(self, shares: Floats, column: int) -> dict[str, float]:
        """Return the shares of one column's values."""
        part = shares[self.starts[column] : self.starts[column + 1]]
        return dict(zip(self.cuts[column].labels, part.tolist(), strict=True))


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    patients: ArrayLike,
    numbers: frozenset[str],
    rule: Rule,
) -> list[Shift] | None:
    """Compare requests with the reference, column by column; None when there are too few requests.

    Args:
        reference: rows that the model learned from; its columns are compared.
        current: requests, with the same columns.
        patients: whose each row of `reference` is: stays of one patient are drawn together.
        numbers: the columns that are numbers; all others are categories.
        rule: when a column counts as drifted.

    Returns:
        The columns, largest distance first.
    """
    if len(current) < rule.least_rows:
        return None
    table = Table(reference, current[reference.columns], numbers)
    by_chance, beyond, p = _tested(table, patients, rule)
    now = table.shares(table.current)
    shifts = [
        Shift(
            name=name,
            distance=max(0.0, float(beyond[i])),
            by_chance=float(by_chance[i]),
            p=float(p[i]),
            drifted=bool(beyond[i] >= rule.threshold and p[i] <= rule.alpha),
            reference=table.by_value(table.expected, i),
            current=table.by_value(now, i),
        )
        for i, name in enumerate(table.names)
    ]
    return sorted(shifts, key=lambda shift: -shift.distance)


def _tested(table: Table, patients: ArrayLike, rule: Rule) -> tuple[Floats, Floats, Floats]:
    """Return of each column: the mean distance by chance, what stands beyond it, and its adjusted p."""
    n_reference, n_current = len(table.reference), len(table.current)
    # A draw that is smaller by the reference's own error is as far from it as two samples are from each other.
    n = max(1, round(n_current * n_reference / (n_current + n_reference)))
    draws = np.array([table.distances(table.reference[rows]) for rows in _draws(patients, n, rule)])
    by_chance, spread = draws.mean(axis=0), np.maximum(draws.std(axis=0), 1 / n)
    largest = ((draws - by_chance) / spread).max(axis=1)
    beyond = table.distances(table.current) - by_chance
    p = (1 + (largest >= (beyond / spread)[:, None]).sum(axis=1)) / (1 + rule.replicates)
    return by_chance, beyond, p


def _draws(patients: ArrayLike, n: int, rule: Rule) -> Iterator[Codes]:
    """Yield rows of random patients, `n` each time: requests as they would be without drift."""
    order = np.argsort(np.asarray(patients), kind="stable")
    _, first, size = np.unique(np.asarray(patients)[order], return_index=True, return_counts=True)
    rng = np.random.default_rng(rule.seed)
    for _ in range(rule.replicates):
        yield order[_rows_of(rng.integers(len(first), size=n), first, size)[:n]]


def _rows_of(chosen: Codes, first: Codes, size: Codes) -> Codes:
    """Return the places of all rows of the chosen patients, patient by patient."""
    lengths = size[chosen]
    ends = np.cumsum(lengths)
    starts: Codes = np.repeat(first[chosen] - (ends - lengths), lengths)
    return starts + np.arange(ends[-1])
