"""Boosted trees as tables of bits: scores one row at a time with a few numpy calls, whatever the number of trees.

The exit leaf of a tree follows from the sets of leaves that its splits leave over, ANDed together (QuickScorer:
C. Lucchese et al., SIGIR 2015). Here the splits of one column are ANDed beforehand, for every interval between its
thresholds: a column then costs one row of a table, for all trees at once. Leaves are numbered so that a reference row
takes the first leaf of every tree: columns that agree with the reference cost nothing. Trees whose levels share a split
(CatBoost's) need a bit per level instead of one per leaf: whether the row agrees there with the reference.

`compiled/trees.npz` holds `reference` of shape (columns,); `column`, `threshold`, `tree` and `bits` of shape (splits,);
`whole` of shape (trees,) and `values` of shape (trees, leaves). A split holds when x <= threshold; where a row takes
another side than the reference, `bits` remain of `whole`. `encoder.json` says how a leaf is found, and how the sum of
the values becomes a probability, 1 / (1 + exp(-(scale * sum + bias))):

    "trees": {"leaf": "first" | "number", "scale": 1.0, "bias": 0.0}
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
FIRST, NUMBER = "first", "number"
TOGETHER = 32  # rows whose leaves are looked up in one call: more do not fit the processor's caches


class TreeScorer:
    """Probabilities of a tree ensemble. Each value becomes a place in the table; place 0 is the reference.

    Args:
        arrays: the content of `trees.npz`.
        how: `trees` of `encoder.json`.
    """

    def __init__(self, arrays: Mapping[str, Array], how: Mapping[str, Any]) -> None:
        (self._trees, leaves), self._bits = arrays["values"].shape, arrays["bits"].dtype
        self._is_number, self._scale, self._bias = how["leaf"] == NUMBER, how["scale"], how["bias"]
        # Counting the bits up to the first leaf's gives one more than its number.
        self._begin = np.arange(self._trees) * leaves - (not self._is_number)
        self._values = arrays["values"].ravel()
        intervals = _Intervals(arrays)
        self._thresholds, self._places = intervals.thresholds, intervals.places()
        self._table = intervals.table(arrays).view(np.uint64)

    def place(self, column: int, /) -> Callable[[float], int]:
        """Return the function from a value of the column to its place."""
        thresholds, places = self._thresholds[column].tolist(), self._places[column]
        return lambda x: places[bisect_left(thresholds, x)]

    def score(self, rows: Sequence[Sequence[int]], /) -> list[float]:
        """Return the probability of each row of places."""
        return [
            p
            for begin in range(0, len(rows), TOGETHER)
            for p in self._some(rows[begin : begin + TOGETHER])
        ]

    def _some(self, rows: Sequence[Sequence[int]]) -> list[float]:
        words = np.empty((len(rows), self._table.shape[1]), np.uint64)
        for row, out in zip(rows, words, strict=True):
            np.bitwise_and.reduce(
                self._table.take(list(filter(None, row)) or [0], axis=0), axis=0, out=out
            )
        remain = words.view(self._bits)[:, : self._trees]
        leaf = remain if self._is_number else np.bitwise_count(remain ^ (remain - 1))
        total = np.add.reduce(self._values.take(self._begin + leaf), axis=1)
        found: list[float] = (1 / (1 + np.exp(-(self._scale * total + self._bias)))).tolist()
        return found


class _Intervals:
    """The intervals between the thresholds of each column, and their places in the table."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        column, threshold, reference = arrays["column"], arrays["threshold"], arrays["reference"]
        self.thresholds = [
            np.unique(threshold[column == number]) for number in range(len(reference))
        ]
        self._at = [
            int(np.searchsorted(t, x)) for t, x in zip(self.thresholds, reference, strict=True)
        ]
        ends = np.cumsum([1, *map(len, self.thresholds)]).tolist()
        self._own = [slice(begin, end) for begin, end in pairwise(ends)]

    def places(self) -> list[list[int]]:
        """Return the place of each interval of each column; that of the reference is 0."""
        own = [list(range(rows.start, rows.stop)) for rows in self._own]
        return [[*rows[:here], 0, *rows[here:]] for rows, here in zip(own, self._at, strict=True)]

    def table(self, arrays: Mapping[str, Array]) -> Array:
        """Return what remains of the trees at each place, shape (places, trees and some to fill a word)."""
        bits, whole = arrays["bits"], arrays["whole"]
        whole = np.pad(whole, (0, -len(whole) % (8 // bits.itemsize)))
        table = np.tile(whole, (self._own[-1].stop, 1))
        for column, (thresholds, here, rows) in enumerate(
            zip(self.thresholds, self._at, self._own, strict=True)
        ):
            own, steps = arrays["column"] == column, table[rows]
            position = np.searchsorted(thresholds, arrays["threshold"][own])
            np.bitwise_and.at(steps, (position, arrays["tree"][own]), bits[own])
            # Away from the reference, in both directions: each interval has passed all thresholds in between.
            steps[here:] = np.bitwise_and.accumulate(steps[here:], axis=0)
            steps[:here] = np.bitwise_and.accumulate(steps[:here][::-1], axis=0)[::-1]
        return table
