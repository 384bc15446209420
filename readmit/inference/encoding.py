"""From the values of a request to the inputs of a scorer: one look-up per column."""

from collections.abc import Callable, Sequence
from operator import getitem
from typing import Required, TypedDict, cast

import numpy as np

from readmit.contract.definition import Contract
from readmit.contract.derivation import Derivation, Row, lookup, tuple_getter

JOINT = "\x1f"  # the unit separator: no value contains it
MAX_REMEMBERED = 5_000  # values per column: requests cannot fill the memory

# A column of `encoder.json`; `readmit.inference.compiled_model` describes it.
Column = TypedDict(
    "Column",
    {"name": Required[str], "with": str, "codes": dict[str, float], "other": float},
    total=False,
)
Converter = Callable[[float], float]


class Encoder:
    """Encodes rows; a row has the values of `contract.base_names`.

    Args:
        contract: has the rules of derived features.
        columns: `columns` of `encoder.json`.
        converter: returns, for the number of a column, the function from its float to the
            scorer's input.
    """

    def __init__(
        self, contract: Contract, columns: Sequence[Column], converter: Callable[[int], Converter]
    ) -> None:
        self._derive = Derivation(contract, without=["lookup"])
        names = (*contract.base_names, *self._derive.names)
        position = {name: number for number, name in enumerate(names)}
        firsts: list[int] = []
        seconds: list[int] = []
        keys: list[int] = []
        self._tables = []
        for number, column in enumerate(columns):
            self._tables.append(_LookUpTable(_encoding(contract, column, converter(number))))
            first = position[_source(contract, column["name"])[0]]
            if "with" in column:
                keys.append(len(names) + len(firsts))
                firsts.append(first)
                seconds.append(position[_source(contract, column["with"])[0]])
            else:
                keys.append(first)
        self._firsts_of_pairs = tuple_getter(firsts)
        self._seconds_of_pairs = tuple_getter(seconds)
        self._keys = tuple_getter(keys)

    def __call__(self, row: Row) -> list[float]:
        """Return the scorer's input for each column."""
        values = (*row, *self._derive(row))
        pairs = zip(self._firsts_of_pairs(values), self._seconds_of_pairs(values), strict=True)
        keys = self._keys((*values, *pairs))
        return [*map(getitem, self._tables, keys)]


class _LookUpTable(dict[object, float]):
    """From a value, or a pair of values, to the scorer's input, which is computed once."""

    def __init__(self, encode: Callable[[object], float]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, value: object) -> float:
        encoded = self._encode(value)
        if len(self) < MAX_REMEMBERED:
            self[value] = encoded
        return encoded


def _encoding(contract: Contract, column: Column, convert: Converter) -> Callable[[object], float]:
    """Return the function from a value of a column, or a pair of values, to the scorer's input."""

    def encode_number(value: object) -> float:
        return convert(float(np.float32(cast("float", value))))  # the Pipeline computes in float32

    def encode_category(value: object) -> float:
        return convert(codes.get(text_of(value), other))

    def encode_pair(values: object) -> float:
        first, second = cast("tuple[object, object]", values)
        text = text_of(first) + JOINT + text_of_second(second)
        return convert(codes.get(text, other))

    if "codes" not in column:
        return encode_number
    codes = column["codes"]
    other = column["other"]
    _, text_of = _source(contract, column["name"])
    if "with" not in column:
        return encode_category
    _, text_of_second = _source(contract, column["with"])
    return encode_pair


def _source(contract: Contract, name: str) -> tuple[str, Callable[[object], str]]:
    """Return the feature that a category is read from, and the function from its value to its text.

    A derived look-up is read at its source: it is then computed once per value, not once per row.
    """
    rule = contract.by_name[name].derive
    if rule is None or rule.op != "lookup":
        return name, str
    source, look_up = lookup(contract, rule)

    def text_of(value: object) -> str:
        return str(look_up(value))

    return source, text_of
