"""From a request's values to what a scorer reads: a look-up per column, made once from the table in `encoder.json`."""

from collections.abc import Callable, Mapping, Sequence
from operator import getitem
from typing import Any

import numpy as np

from readmit.contract.definition import Contract
from readmit.contract.derivation import Derivation, lookup, tuple_getter

JOINT = "\x1f"  # the unit separator: no value holds it
MOST_KEPT = 5_000  # values that one column remembers: requests cannot fill the memory

Text = Callable[[Any], str]
Place = Callable[[float], Any]


class Encoder:
    """Encodes rows: the values of `contract.base_names`, in this order.

    Args:
        contract: has the rules of derived features.
        columns: `columns` of `encoder.json`.
        place: for the number of a column, the function from its float to what the scorer wants.
    """

    def __init__(
        self,
        contract: Contract,
        columns: Sequence[Mapping[str, Any]],
        place: Callable[[int], Place],
    ) -> None:
        self._derive = Derivation(contract, without=["lookup"])
        self._tables = [
            _table(contract, column, place(number)) for number, column in enumerate(columns)
        ]
        sources = [_sources(contract, column) for column in columns]
        pairs = [both for both in sources if len(both) == 2]
        singles = [(name,) for name in (*contract.base_names, *self._derive.names)]
        at = {each: number for number, each in enumerate((*singles, *pairs))}
        self._firsts, self._seconds = (
            tuple_getter([at[both[k : k + 1]] for both in pairs]) for k in (0, 1)
        )
        self._looked_up = tuple_getter([at[each] for each in sources])

    def __call__(self, given: Sequence[Any]) -> list[Any]:
        """Return one value per column."""
        known = (*given, *self._derive(given))
        pairs = zip(self._firsts(known), self._seconds(known), strict=True)
        return [*map(getitem, self._tables, self._looked_up((*known, *pairs)))]


class _Table(dict[Any, Any]):
    """From a value to what the scorer wants: worked out when the value is first met, then remembered."""

    def __init__(self, work_out: Callable[[Any], Any]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, value: Any) -> Any:  # noqa: ANN401 (whatever the scorer wants)
        found = self._work_out(value)
        if len(self) < MOST_KEPT:
            self[value] = found
        return found


def _table(contract: Contract, column: Mapping[str, Any], place: Place) -> _Table:
    if "codes" not in column:
        return _Table(lambda value: place(float(np.float32(value))))  # as the Pipeline computes
    codes, other, (_, text) = column["codes"], column["other"], _read(contract, column["name"])
    if "with" not in column:
        return _Table(lambda value: place(codes.get(text(value), other)))
    _, second = _read(contract, column["with"])
    return _Table(lambda both: place(codes.get(text(both[0]) + JOINT + second(both[1]), other)))


def _sources(contract: Contract, column: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_read(contract, column[key])[0] for key in ("name", "with") if key in column)


def _read(contract: Contract, name: str) -> tuple[str, Text]:
    """Return the column to read for a category, and the function from its value to the text that is encoded.

    A derived look-up is read at its source: it is made once per value, not once per row.
    """
    rule = contract.by_name[name].derive
    if rule is None or rule.op != "lookup":
        return name, str
    source, found = lookup(contract, rule)
    return source, lambda value: str(found(value))
