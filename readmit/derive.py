"""Derived features, evaluated in Python from the same declaration that dbt's macro `derive` turns into SQL."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from readmit.contract import Contract, Derive, Feature, Value

if TYPE_CHECKING:
    import pandas as pd

Evaluator = Callable[[Mapping[str, Any]], Value | None]


def defaults(contract: Contract) -> dict[str, Value]:
    """Return the predefined value of every input and history feature: a first stay."""
    return {f.name: f.default for f in contract.features if f.default is not None and f.role != "derived"}


class Derivation:
    """Adds derived features to rows; the contract's rules are prepared once. `without`: operations to leave out."""

    def __init__(self, contract: Contract, without: Sequence[str] = ()) -> None:
        rules = [(feature.name, _rule(feature)) for feature in contract.derived]
        self._rules = [(name, _evaluator(contract, rule)) for name, rule in rules if rule.op not in without]

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row (inputs and history) with derived features added; a missing column is a KeyError."""
        return {**row, **{name: evaluate(row) for name, evaluate in self._rules}}


def derive_row(contract: Contract, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row (inputs and history) with every derived feature added."""
    return Derivation(contract)(row)


def derive_frame(contract: Contract, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a copy of the frame (inputs and history) with every derived feature added, a column at a time."""
    return frame.assign(**{feature.name: _column(contract, feature, frame) for feature in contract.derived})


def values_of(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return the function from a row to the values of columns: `itemgetter`, which gives no tuple for one name."""
    if len(names) < 2:
        return lambda row: tuple(row[name] for name in names)
    return itemgetter(*names)


def _rule(feature: Feature) -> Derive:
    if feature.derive is None:
        raise ValueError(f"{feature.name}: is not derived")
    return feature.derive


def lookup(contract: Contract, rule: Derive) -> tuple[str, Callable[[object], Value | None]]:
    """Return the column that a look-up reads, and the function from its values."""
    table, (source,) = contract.table(rule.seed or "", rule.get or ""), rule.sources
    return source, lambda value: table.get(str(value), rule.otherwise)


def _evaluator(contract: Contract, rule: Derive) -> Evaluator:
    """Return the function from a row to the value of a rule."""
    if rule.op == "lookup":
        source, found = lookup(contract, rule)
        return lambda row: found(row[source])
    values = values_of(rule.sources)
    if rule.op == "sum":
        return lambda row: int(sum(values(row)))
    listed, is_negated = set(rule.is_in or rule.not_in or (rule.equals,)), rule.not_in is not None

    def count(row: Mapping[str, Any]) -> int:
        n = sum(map(values(row).count, listed))
        return len(rule.sources) - n if is_negated else n

    return count if rule.op == "count" else lambda row: count(row) > 0


def _column(contract: Contract, feature: Feature, frame: "pd.DataFrame") -> "pd.Series[Any]":
    rule = _rule(feature)
    chosen = frame[list(rule.sources)]
    if rule.op == "lookup":
        table = contract.table(rule.seed or "", rule.get or "")
        return chosen.iloc[:, 0].map(lambda value: table.get(str(value), rule.otherwise))
    if rule.op == "sum":
        return chosen.sum(axis=1)
    if rule.is_in is not None or rule.not_in is not None:
        hits = chosen.isin(list(rule.is_in or rule.not_in or ()))
        hits = hits if rule.is_in is not None else ~hits
    else:
        hits = chosen == rule.equals
    return hits.sum(axis=1) if rule.op == "count" else hits.any(axis=1)
