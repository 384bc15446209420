"""Derived features, evaluated in Python from the same declaration that dbt's macro `derive` turns into SQL."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from readmit.contract import Contract, Derive, Feature, Value

if TYPE_CHECKING:
    import pandas as pd


def defaults(contract: Contract) -> dict[str, Value]:
    """Return the predefined value of every input and history feature: a first stay."""
    return {f.name: f.default for f in contract.features if f.default is not None and f.role != "derived"}


def derive_row(contract: Contract, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row (inputs and history) with every derived feature added."""
    return {**row, **{feature.name: _evaluate(contract, feature, row) for feature in contract.derived}}


def derive_frame(contract: Contract, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a copy of the frame (inputs and history) with every derived feature added, a column at a time."""
    return frame.assign(**{feature.name: _column(contract, feature, frame) for feature in contract.derived})


def _rule(feature: Feature) -> Derive:
    if feature.derive is None:
        raise ValueError(f"{feature.name}: is not derived")
    return feature.derive


def _evaluate(contract: Contract, feature: Feature, row: Mapping[str, Any]) -> Value | None:
    rule = _rule(feature)
    values = [row[name] for name in rule.sources]
    if rule.op == "lookup":
        return contract.table(rule.seed or "", rule.get or "").get(str(values[0]), rule.otherwise)
    if rule.op == "sum":
        return int(sum(values))
    hits = [_holds(rule, value) for value in values]
    return sum(hits) if rule.op == "count" else any(hits)


def _holds(rule: Derive, value: object) -> bool:
    if rule.is_in is not None:
        return value in rule.is_in
    if rule.not_in is not None:
        return value not in rule.not_in
    return bool(value == rule.equals)


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
