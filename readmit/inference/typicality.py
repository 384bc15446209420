"""How unlike the training data a patient is: the surprises of its values, added up.

The surprise of a value is -log of the share of training stays whose value is at least as rare (a
category) or at least as extreme to the same side (a number). A value that no stay had counts as
half a stay. A patient is unlike the training data when the sum is above a limit that one in a
hundred validation stays exceeds. `typicality.json` of a bundle:

    {"format": 1, "limit": 41.3, "fields": [
        {"name": "race", "texts": ["Caucasian", "Asian"], "surprises": [0.0, 5.1], "other": 11.7},
        {"name": "n_medications", "numbers": [1, 2], "surprises": [5.3, 4.4], "other": 11.7}]}

Sources: Fisher 1932 (the sum); Li et al. 2022, "ECOD" (tails of single columns).
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from operator import getitem
from pathlib import Path
from typing import Required, TypedDict

from readmit.contract.derivation import Row
from readmit.inference.encoding import MAX_REMEMBERED

FORMAT = 1
FILE = "typicality.json"
RARE = 4.6  # the surprise of a value as one in a hundred stays has it
MOST_NAMED = 3


class FieldSurprises(TypedDict, total=False):
    """The surprises of one field: a category has `texts`, a number has `numbers`, both sorted."""

    name: Required[str]
    texts: list[str]
    numbers: list[float]
    surprises: Required[list[float]]
    other: Required[float]


class TypicalityDocument(TypedDict):
    """The content of `typicality.json`."""

    format: int
    limit: float
    fields: list[FieldSurprises]


class Typicality:
    """Measures rows; a row has the values of `contract.base_names`, in the order of `fields`."""

    def __init__(self, document: TypicalityDocument) -> None:
        self.limit = document["limit"]
        self.names = [field["name"] for field in document["fields"]]
        self._tables = [_SurpriseTable(field) for field in document["fields"]]

    @classmethod
    def load(cls, folder: Path) -> "Typicality | None":
        """Read a bundle; None when it was written before there was such a file.

        Raises:
            ValueError: the file has a format that this code does not read.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        document: TypicalityDocument = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise ValueError(f"{FILE} has format {document['format']}, this runtime reads {FORMAT}")
        return cls(document)

    def distance(self, row: Row) -> float:
        """Return the sum of the surprises of a row; above `limit` it is unlike the others."""
        return sum(map(getitem, self._tables, row))

    def rarest(self, row: Row, names: Collection[str]) -> list[str]:
        """Return those of the fields `names` whose values are rare, the rarest first."""
        rare = []
        for name, table, value in zip(self.names, self._tables, row, strict=True):
            if name in names and table[value] >= RARE:
                rare.append((-table[value], name))
        return [name for _, name in sorted(rare)[:MOST_NAMED]]


class _SurpriseTable(dict[object, float]):
    """From a value of a field to its surprise, which is computed once."""

    def __init__(self, field: FieldSurprises) -> None:
        super().__init__()
        self._by_text = dict(zip(field.get("texts", ()), field["surprises"], strict=False))
        self._numbers: Sequence[float] = field.get("numbers", ())
        self._surprises = field["surprises"]
        self._other = field["other"]

    def __missing__(self, value: object) -> float:
        if self._numbers and isinstance(value, int | float):
            surprise = self._of_number(value)
        else:
            surprise = self._by_text.get(str(value), self._other)
        if len(self) < MAX_REMEMBERED:
            self[value] = surprise
        return surprise

    def _of_number(self, value: float) -> float:
        position = bisect_left(self._numbers, value)
        if position < len(self._numbers) and self._numbers[position] == value:
            return self._surprises[position]
        if position in (0, len(self._numbers)):  # beyond all stays
            return self._other
        return max(self._surprises[position - 1 : position + 1])
