"""The fast path for boosted trees: tables of bits.

A row is scored with a few numpy calls, whatever the number of trees.

Each leaf of a tree has a bit. Every split leaves some leaves over; the AND over all splits of a
tree leaves those of which the first is the exit leaf (QuickScorer: C. Lucchese et al., SIGIR 2015).
Here the splits of one column are combined beforehand: the thresholds of a column cut it into
intervals, and each interval gets a bin, a row of the table with the bits of all trees. A column
then costs one row of the table, for all trees at once.

Leaves are numbered so that a reference row takes the first leaf of every tree. All intervals of the
reference row share bin 0, which clears no bit: columns that agree with the reference cost nothing.
Trees whose levels share a split (CatBoost's) need a bit per level instead of one per leaf: whether
the row agrees there with the reference.

`compiled/trees.npz` holds these arrays:

    reference    (columns,)       the reference row
    column       (splits,)        the column of a split
    threshold    (splits,)        the split holds when the value is at most this
    tree         (splits,)        the tree of a split
    bits         (splits,)        the bits left over on the side that the reference does not take
    whole        (trees,)         the bits of the reference row
    values       (trees, leaves)  the values of the leaves
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

FIRST: Literal["first"] = "first"
NUMBER: Literal["number"] = "number"
MAX_TOGETHER = 32  # rows that are looked up in one call: more do not fit the processor's caches


class TreeSettings(TypedDict):
    """`trees` of `encoder.json`.

    `leaf` says how the bits name the exit leaf: its position is that of the first bit, or the bits
    are its number. The probability is 1 / (1 + exp(-(scale * sum of the leaves' values + bias))).
    """

    leaf: Literal["first", "number"]
    scale: float
    bias: float


class TreeScorer:
    """Scores with a tree ensemble. Its input for a value is the number of the value's bin.

    Args:
        arrays: the content of `trees.npz`.
        settings: `trees` of `encoder.json`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], settings: TreeSettings) -> None:
        self._settings = settings
        self._n_trees, n_leaves = arrays["values"].shape
        self._bits_type = arrays["bits"].dtype
        self._values = arrays["values"].ravel()
        self._begin = np.arange(self._n_trees) * n_leaves
        if settings["leaf"] == FIRST:
            # Counting the bits up to the first leaf gives one more than its number.
            self._begin -= 1
        self._columns = _columns(arrays)
        self._table = _table(arrays, self._columns).view(np.uint64)

    def converter(self, column: int, /) -> Callable[[float], int]:
        """Return the function from a value of the column to its bin."""
        thresholds: list[float] = self._columns[column].thresholds.tolist()
        bins = self._columns[column].bins()

        def bin_of(value: float) -> int:
            return bins[bisect_left(thresholds, value)]

        return bin_of

    def score(self, rows: Sequence[Sequence[int]], /) -> list[float]:
        """Return the probability of each row of bins."""
        probabilities: list[float] = []
        for begin in range(0, len(rows), MAX_TOGETHER):
            some_rows = rows[begin : begin + MAX_TOGETHER]
            words = np.empty((len(some_rows), self._table.shape[1]), np.uint64)
            for row, row_words in zip(some_rows, words, strict=True):
                bins = list(filter(None, row)) or [0]
                np.bitwise_and.reduce(self._table.take(bins, axis=0), axis=0, out=row_words)
            left = words.view(self._bits_type)[:, : self._n_trees]
            if self._settings["leaf"] == FIRST:
                left = np.bitwise_count(left ^ (left - 1))
            sums = np.add.reduce(self._values.take(self._begin + left), axis=1)
            log_odds = self._settings["scale"] * sums + self._settings["bias"]
            probabilities += (1 / (1 + np.exp(-log_odds))).tolist()
        return probabilities


@dataclass(frozen=True)
class _Column:
    """The intervals of a column and their bins.

    `thresholds` are sorted and cut the column into one interval more. `reference` is the number of
    the reference row's interval: it has bin 0. The bins of the others follow each other from
    `first_bin` on.
    """

    thresholds: np.ndarray
    reference: int
    first_bin: int

    @property
    def end_bin(self) -> int:
        """The number after the last bin."""
        return self.first_bin + len(self.thresholds)

    def bins(self) -> list[int]:
        """Return the bin of each interval."""
        bins = list(range(self.first_bin, self.end_bin))
        bins.insert(self.reference, 0)
        return bins


def _columns(arrays: Mapping[str, np.ndarray]) -> list[_Column]:
    columns = []
    first_bin = 1
    for number, reference in enumerate(arrays["reference"]):
        thresholds = np.unique(arrays["threshold"][arrays["column"] == number])
        column = _Column(thresholds, int(np.searchsorted(thresholds, reference)), first_bin)
        columns.append(column)
        first_bin = column.end_bin
    return columns


def _table(arrays: Mapping[str, np.ndarray], columns: Sequence[_Column]) -> np.ndarray:
    """Return the bits that each bin leaves over, shape (bins, trees).

    Columns are added until the bits of a row fill words of 64 bits.
    """
    trees_per_word = 8 // arrays["bits"].itemsize
    n_trees = len(arrays["whole"])
    reference_bits = np.pad(arrays["whole"], (0, -n_trees % trees_per_word))
    table = np.tile(reference_bits, (columns[-1].end_bin, 1))
    for number, column in enumerate(columns):
        bins = table[column.first_bin : column.end_bin]
        is_own = arrays["column"] == number
        threshold = np.searchsorted(column.thresholds, arrays["threshold"][is_own])
        np.bitwise_and.at(bins, (threshold, arrays["tree"][is_own]), arrays["bits"][is_own])
        # In both directions an interval lies behind all thresholds between it and the reference.
        above = bins[column.reference :]
        above[:] = np.bitwise_and.accumulate(above, axis=0)
        below = bins[: column.reference][::-1]
        below[:] = np.bitwise_and.accumulate(below, axis=0)
    return table
