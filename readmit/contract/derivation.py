"""Derived features, evaluated in Python from the same declaration that dbt's macro `derive` turns into SQL."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from readmit.contract.definition import Contract, Derive, Feature, Value

if TYPE_CHECKING:
    import pandas as pd

Evaluator = Callable[[Sequence[Any]], Value | None]


def defaults(contract: Contract) -> dict[str, Value]:
    """Return the predefined value of every input and history feature: a first stay."""
    return {
        f.name: f.default
        for f in contract.features
        if f.default is not None and f.role != "derived"
    }


class Derivation:
    """Computes derived features of rows; the contract's rules are prepared once. `without`: operations to leave out.

    A row is the sequence of the values of `contract.base_names`: a tuple is made, and read, faster than a dictionary.
    """

    def __init__(self, contract: Contract, without: Sequence[str] = ()) -> None:
        every = {feature.name: _rule(feature) for feature in contract.derived}
        rules = {name: rule for name, rule in every.items() if rule.op not in without}
        at = {name: place for place, name in enumerate(contract.base_names)}
        self.names = tuple(rules)
        self._rules = [
            (tuple_getter([at[name] for name in rule.sources]), _evaluator(contract, rule))
            for rule in rules.values()
        ]

    def __call__(self, row: Sequence[Any]) -> list[Value | None]:
        """Return the values of `names`."""
        return [evaluate(values(row)) for values, evaluate in self._rules]


def derive_row(contract: Contract, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row (inputs and history) with every derived feature added; a missing column is a KeyError."""
    derive = Derivation(contract)
    return {
        **row,
        **dict(zip(derive.names, derive([row[name] for name in contract.base_names]), strict=True)),
    }


def derive_frame(contract: Contract, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a copy of the frame (inputs and history) with every derived feature added."""
    derive = Derivation(contract)
    rows = [
        derive(row) for row in frame[list(contract.base_names)].itertuples(index=False, name=None)
    ]
    columns: dict[str, Any] = {
        name: [row[number] for row in rows] for number, name in enumerate(derive.names)
    }
    return frame.assign(**columns)


def tuple_getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the function from a row to the values at keys or places: `itemgetter`, which gives no tuple for one."""
    if len(keys) < 2:
        return lambda row: tuple(row[key] for key in keys)
    return itemgetter(*keys)


def _rule(feature: Feature) -> Derive:
    if feature.derive is None:
        raise ValueError(f"{feature.name}: is not derived")
    return feature.derive


def lookup(contract: Contract, rule: Derive) -> tuple[str, Callable[[object], Value | None]]:
    """Return the column that a look-up reads, and the function from its values."""
    table, (source,) = contract.table(rule.seed or "", rule.get or ""), rule.sources
    return source, lambda value: table.get(str(value), rule.otherwise)


def _evaluator(contract: Contract, rule: Derive) -> Evaluator:
    """Return the function from the values of a rule's sources to its own."""
    if rule.op == "lookup":
        _, found = lookup(contract, rule)
        return lambda values: found(values[0])
    if rule.op == "sum":
        return lambda values: int(sum(values))
    listed, is_negated = set(rule.is_in or rule.not_in or (rule.equals,)), rule.not_in is not None

    def count(values: Sequence[Any]) -> int:
        n = sum(map(values.count, listed))
        return len(values) - n if is_negated else n

    return count if rule.op == "count" else lambda values: count(values) > 0
