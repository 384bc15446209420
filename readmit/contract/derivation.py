"""Derived features, computed in Python. dbt's macro `derive` turns the same rules into SQL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from readmit.contract.definition import Contract, Derive, Value

if TYPE_CHECKING:
    import pandas as pd

Row = Sequence[object]  # the values of `contract.base_names`, in this order
MAX_COMBINATIONS = 1_000  # of the values that a rule counts, whose result is remembered


def defaults(contract: Contract) -> dict[str, Value]:
    """Return the default of every input and history feature: the history of a first stay."""
    values = {}
    for feature in contract.features:
        if feature.role != "derived" and feature.default is not None:
            values[feature.name] = feature.default
    return values


class Derivation:
    """Computes the derived features of rows.

    A row is a sequence of the values of `contract.base_names`. Tuples are made and read faster than
    dictionaries.

    Args:
        contract: has the rules; they are prepared once.
        without: operations to leave out.
    """

    def __init__(self, contract: Contract, without: Sequence[str] = ()) -> None:
        position = {name: number for number, name in enumerate(contract.base_names)}
        names = []
        self._rules = []
        for feature in contract.derived:
            rule = feature.derive
            if rule is None:
                raise ValueError(f"{feature.name}: is not derived")
            if rule.op in without:
                continue
            names.append(feature.name)
            sources_of = tuple_getter([position[name] for name in rule.sources])
            self._rules.append((sources_of, _evaluator(contract, rule)))
        self.names = tuple(names)

    def __call__(self, row: Row) -> list[Value | None]:
        """Return the values of `names`."""
        return [evaluate(sources_of(row)) for sources_of, evaluate in self._rules]


def derive_row(contract: Contract, row: Mapping[str, object]) -> dict[str, object]:
    """Return a row of inputs and history with every derived feature added.

    Raises:
        KeyError: the row lacks an input or a history feature.
    """
    derive = Derivation(contract)
    values = derive([row[name] for name in contract.base_names])
    return {**row, **dict(zip(derive.names, values, strict=True))}


def derive_frame(contract: Contract, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a copy of a frame of inputs and history with every derived feature added."""
    derive = Derivation(contract)
    rows = [derive(row) for row in base_rows(contract, frame)]
    columns = {}
    for number, name in enumerate(derive.names):
        columns[name] = [row[number] for row in rows]
    return frame.assign(**columns)  # type: ignore[arg-type]


def base_rows(contract: Contract, frame: "pd.DataFrame") -> Iterator[tuple[object, ...]]:
    """Return an iterator over rows, each as the values of `contract.base_names`.

    `DataFrame.itertuples` takes ten times as long: it reads each text out of its column by itself.
    """
    columns = [frame[name].tolist() for name in contract.base_names]
    return zip(*columns, strict=True)


def tuple_getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gets the values at these keys or positions of a row, as a tuple.

    It is `itemgetter`, which returns no tuple for a single key.
    """
    if len(keys) < 2:
        return lambda row: tuple(row[key] for key in keys)
    return itemgetter(*keys)


def lookup(contract: Contract, rule: Derive) -> tuple[str, Callable[[object], Value | None]]:
    """Return the column that a look-up reads, and the function from its values to the result."""
    rows = contract.seeds[rule.seed or ""]
    results = {row["code"]: row[rule.get or ""] for row in rows}
    (source,) = rule.sources
    return source, lambda code: results.get(str(code), rule.otherwise)


def _evaluator(contract: Contract, rule: Derive) -> Callable[[Row], Value | None]:
    """Return the function from the values of a rule's sources to the derived value."""
    if rule.op == "lookup":
        _, look_up = lookup(contract, rule)
        return lambda values: look_up(values[0])
    if rule.op == "sum":
        return lambda values: int(sum(cast("Sequence[int]", values)))
    if rule.op == "count":
        return _counter(rule)
    count = _counter(rule)
    return lambda values: count(values) > 0


def _counter(rule: Derive) -> Callable[[Row], int]:
    """Return the function that counts the values that meet a rule's condition."""
    listed = set(rule.is_in or rule.not_in or (rule.equals,))
    is_negated = rule.not_in is not None

    def count(values: Row) -> int:
        n_listed = sum(map(values.count, listed))
        if is_negated:
            return len(values) - n_listed
        return n_listed

    # Most patients take one of a few hundred combinations of the 23 drugs that three rules count.
    return lru_cache(MAX_COMBINATIONS)(count)
