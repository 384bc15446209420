"""The columns of a table of stays: named as the contract does, or as the source file does.

A table in the layout of the source has its names (`time_in_hospital`, `glyburide-metformin`) and
its values (`?`, `8` for the code 008). dbt types the rows of RAW by the same declarations
(`Feature.source`, from the macros of staging); a test compares both.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from readmit.contract.definition import WHOLE_NUMBERS, Feature, Source, Value
from readmit.tables.delimiters import INDEX_NAME, name_key
from readmit.tables.numbers import number, whole_number

ID_NAMES = ("patient_nbr", "encounter_id")
# Columns of the source that say nothing about a stay at its discharge.
NOT_READ = ("readmitted", "diabetesmed")
NOT_RECORDED = ("?", "Unknown/Invalid")
UNKNOWN = "unknown"
FLAGS: dict[str, Value] = {"true": True, "false": False, "1": True, "0": False}
CellReader = Callable[[str], Value]


class StayColumns(NamedTuple):
    """What the columns of a table are.

    `names` has the field of each column, and None for one that is left out. `missing` names the
    inputs without a column as the table would write them.
    """

    is_source: bool
    names: tuple[str | None, ...]
    missing: tuple[str, ...]

    @property
    def repeated(self) -> list[str]:
        """Names that more than one column has; tools leave several columns without a name."""
        counts = Counter(filter(None, self.names))
        return [name for name, n_columns in counts.items() if n_columns > 1]


def known_keys(features: Iterable[Feature]) -> set[str]:
    """Return all names that a header may have, without case and separators."""
    keys = {name_key(name) for name in ID_NAMES}
    for feature in features:
        keys.add(name_key(feature.name))
        if feature.source is not None:
            keys.add(name_key(feature.source.column))
    return keys


def columns_of(header: Sequence[str], features: Sequence[Feature]) -> StayColumns:
    """Return what the columns of a header are.

    Names that only the source has decide for its layout, if no name that only the contract has
    stands beside them. Case and separators of names do not count. In the layout of the source, row
    numbers that a tool has added and columns that are not known at discharge are left out; in that
    of the contract, row numbers in the first column are. Other columns keep their names.

    Args:
        header: names of columns.
        features: inputs and history of a contract.
    """
    inputs = [feature for feature in features if feature.role == "input"]
    is_source = _is_source(header, inputs)
    fields = {name_key(name): name for name in ID_NAMES}
    for feature in features:
        if not is_source:
            fields[name_key(feature.name)] = feature.name
        elif feature.role == "input" and feature.source is not None:
            fields[name_key(feature.source.column)] = feature.name
    names: list[str | None] = []
    for position, name in enumerate(header):
        key = name_key(name)
        is_index = key not in fields and INDEX_NAME.fullmatch(name)
        if (is_source and key in NOT_READ) or (is_index and (is_source or position == 0)):
            names.append(None)
        else:
            names.append(fields.get(key, name))
    missing = []
    for feature in inputs:
        if feature.name not in names:
            name = feature.name
            if is_source and feature.source is not None:
                name = feature.source.column
            missing.append(name)
    return StayColumns(is_source, tuple(names), tuple(missing))


def _is_source(header: Collection[str], inputs: Sequence[Feature]) -> bool:
    contract_keys = set()
    source_keys = set()
    for feature in inputs:
        if feature.source and feature.source.column != feature.name:
            contract_keys.add(name_key(feature.name))
            source_keys.add(name_key(feature.source.column))
    keys = {name_key(name) for name in header}
    if keys & (contract_keys - source_keys):
        return False
    return bool(keys & (source_keys - contract_keys))


def cell_reader(feature: Feature | None, *, is_id: bool, is_source: bool) -> CellReader:
    """Return the function from the cells of a column to values of the contract's type.

    A cell that cannot be read stays text, to be refused.

    Args:
        feature: that the column holds; None for an id or an unknown column.
        is_id: whether it holds ids.
        is_source: whether the table has the layout of the source.
    """
    if is_id:
        return cache(whole_number)
    if feature is None:
        return str
    if is_source and feature.source is not None:
        return cache(_source_reader(feature.source))
    if feature.data_type == "boolean":
        return cache(_flag)
    if feature.data_type in WHOLE_NUMBERS:
        return cache(whole_number)
    return cache(number) if feature.data_type == "double precision" else str


def _flag(cell: str) -> Value:
    return FLAGS.get(cell.strip().lower(), cell)


def _source_reader(source: Source) -> CellReader:
    """Return how a column of the source is typed: as the macros of dbt's staging do."""
    if source.reads == "whole_number":
        return whole_number
    if source.reads == "icd9":
        return icd9
    if source.reads == "flag":
        flags: dict[str | None, Value] = {source.yes: True, source.no: False}
        return lambda cell: flags.get(cell, cell)
    return lambda cell: UNKNOWN if cell in NOT_RECORDED else cell


def icd9(code: str) -> str:
    """Return an ICD-9 code of the file as the code table writes it: the file has lost zeros."""
    if code == "?":
        return UNKNOWN
    if not code.isascii():
        return code
    if code.isdigit() and len(code) < 3:
        return code.zfill(3)
    if len(code) == 5 and code.startswith("250.") and code[4].isdigit():
        return f"{code}0"
    return code
