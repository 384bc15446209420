"""Boosted trees as tables of bits: scores one row at a time with a few numpy calls, whatever the number of trees.

The exit leaf of a tree follows from the sets of leaves that its splits leave over, ANDed together (QuickScorer:
C. Lucchese et al., SIGIR 2015). Here the splits of one column are ANDed beforehand, for every interval between its
thresholds: a column then costs one row of a table, for all trees at once. Leaves are numbered so that a reference row
takes the first leaf of every tree: columns that agree with the reference cost nothing. Trees whose levels share a split
(CatBoost's) need a bit per level instead of one per leaf: whether the row agrees there with the reference.

`compiled/trees.npz` holds `reference` of shape (columns,) and, for each part k of the mean, arrays `<k>.<name>`:
`column`, `threshold`, `tree` and `bits` of shape (splits,), `whole` of shape (trees,) and `values` of shape
(trees, leaves). A split holds when x <= threshold; where a row takes another side than the reference, `bits` remain of
`whole`. `encoder.json` says how the sum of a part's values becomes a probability:

    "parts": [{"kind": "first_leaf" | "leaf_number", "scale": 1.0, "bias": 0.0, "weight": 0.5}]
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
FIRST_LEAF, LEAF_NUMBER = "first_leaf", "leaf_number"


class TreeScorer:
    """Mean of the probabilities of tree ensembles. Each value becomes a place in the table; place 0 is the reference.

    Args:
        arrays: the content of `trees.npz`.
        parts: `parts` of `encoder.json`.
    """

    def __init__(self, arrays: Mapping[str, Array], parts: Sequence[Mapping[str, Any]]) -> None:
        splits = [{name: arrays[f"{k}.{name}"] for name in ARRAYS} for k in range(len(parts))]
        intervals = _Intervals(splits, arrays["reference"])
        self._thresholds, self._places = intervals.thresholds, intervals.places()
        tables = [intervals.table(part).view(np.uint64) for part in splits]
        self._table = np.concatenate(tables, axis=1)
        ends = np.cumsum([table.shape[1] for table in tables]).tolist()
        words = [slice(begin, end) for begin, end in pairwise([0, *ends])]
        self._parts = [_Part(part, how, where) for part, how, where in zip(splits, parts, words, strict=True)]

    def place(self, column: int, /) -> Callable[[float], int]:
        """Return the function from a value of the column to its place."""
        thresholds, places = self._thresholds[column].tolist(), self._places[column]
        return lambda x: places[bisect_left(thresholds, x)]

    def score(self, rows: Sequence[Sequence[int]], /) -> list[float]:
        """Return the probability of each row of places."""
        return [self._one(list(filter(None, row)) or [0]) for row in rows]

    def _one(self, places: list[int]) -> float:
        words = np.bitwise_and.reduce(self._table.take(places, axis=0), axis=0)
        return math.fsum([part.probability(words) for part in self._parts])


ARRAYS = ("column", "threshold", "tree", "bits", "whole", "values")


class _Intervals:
    """The intervals between the thresholds of each column, of all parts together, and their places in the table."""

    def __init__(self, parts: Sequence[Mapping[str, Array]], reference: Array) -> None:
        columns = range(len(reference))
        of = [[part["threshold"][part["column"] == column] for part in parts] for column in columns]
        self.thresholds = [np.unique(np.concatenate(each)) for each in of]
        self._at = [int(np.searchsorted(t, x)) for t, x in zip(self.thresholds, reference, strict=True)]
        ends = np.cumsum([1, *map(len, self.thresholds)]).tolist()
        self._own = [slice(begin, end) for begin, end in pairwise(ends)]

    def places(self) -> list[list[int]]:
        """Return the place of each interval of each column; that of the reference is 0."""
        own = [list(range(rows.start, rows.stop)) for rows in self._own]
        return [[*rows[:here], 0, *rows[here:]] for rows, here in zip(own, self._at, strict=True)]

    def table(self, part: Mapping[str, Array]) -> Array:
        """Return what remains of the part's trees at each place, shape (places, trees and some to fill a word)."""
        bits = part["bits"]
        whole = np.pad(part["whole"], (0, -len(part["whole"]) % (8 // bits.itemsize)))
        table = np.tile(whole.astype(bits.dtype), (self._own[-1].stop, 1))
        for column, (thresholds, here, rows) in enumerate(zip(self.thresholds, self._at, self._own, strict=True)):
            own, steps = part["column"] == column, table[rows]
            position = np.searchsorted(thresholds, part["threshold"][own])
            np.bitwise_and.at(steps, (position, part["tree"][own]), bits[own])
            # Away from the reference, in both directions: each interval has passed all thresholds in between.
            steps[here:] = np.bitwise_and.accumulate(steps[here:], axis=0)
            steps[:here] = np.bitwise_and.accumulate(steps[:here][::-1], axis=0)[::-1]
        return table


class _Part:
    """What the leaves of one ensemble are worth; `words`: where it stands in a row of the table."""

    def __init__(self, arrays: Mapping[str, Array], how: Mapping[str, Any], words: slice) -> None:
        (self._trees, leaves), self._bits = arrays["values"].shape, arrays["bits"].dtype
        self._is_number, self._words = how["kind"] == LEAF_NUMBER, words
        self._first = np.arange(self._trees) * leaves - (not self._is_number)
        self._values = arrays["values"].ravel()
        self._scale, self._bias, self._weight = how["scale"], how["bias"], how["weight"]

    def probability(self, row: Array) -> float:
        """Return the weighted probability, from what remains of a row."""
        leaf = row[self._words].view(self._bits)[: self._trees]
        if not self._is_number:
            leaf = np.bitwise_count(leaf ^ (leaf - 1))  # one more than the number of the lowest bit
        total = float(np.add.reduce(self._values.take(self._first + leaf)))
        return float(self._weight / (1 + math.exp(-(self._scale * total + self._bias))))
