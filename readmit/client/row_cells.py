"""The rows of a CSV by the number of their cells, as the API and the form judge them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from readmit.client.answer_types import FieldError, FieldErrorCode, ParamValue

ROW = "row"  # stands for a field in the error: no cell can be assigned to one
WRONG_NUMBER_OF_CELLS = "has {cells} cells, but the header has {columns}"
EMPTY_ROW = "has no value in any cell"


class TableRow(NamedTuple):
    """A row of a table: its number, its cells, and what is wrong with it as a whole.

    Which cells of a row with an error stand under the right name is not known.
    """

    number: int
    cells: list[str]
    error: FieldError | None


def table_rows(
    records: Iterable[tuple[int, list[str]]], n_columns: int, max_rows: int
) -> Iterator[TableRow]:
    """Yield the rows of a table. Blank lines are none, as for every reader of CSV.

    Spreadsheets leave rows of empty cells below a table: those are no rows either. Between others
    such a row is an error, so that the answers stand in the order of the caller's rows.

    Args:
        records: of a CSV behind its header, each with the number that the caller knows it by.
        n_columns: of the header.
        max_rows: how many rows the caller takes; with more empty ones in between, some are left
            out.
    """
    empty_rows: list[int] = []
    for number, cells in records:
        if not cells:
            continue
        if not any(map(str.strip, cells)):
            if len(empty_rows) <= max_rows:
                empty_rows.append(number)
            continue
        for empty_row in empty_rows:
            error = _error(FieldErrorCode.EMPTY_ROW, EMPTY_ROW)
            yield TableRow(empty_row, [""] * n_columns, error)
        empty_rows.clear()
        if len(cells) == n_columns:
            yield TableRow(number, cells, None)
        else:
            params = {"cells": len(cells), "columns": n_columns}
            detail = WRONG_NUMBER_OF_CELLS.format(**params)
            error = _error(FieldErrorCode.WRONG_NUMBER_OF_CELLS, detail, params)
            yield TableRow(number, cells, error)


def _error(
    code: FieldErrorCode, detail: str, params: Mapping[str, ParamValue] | None = None
) -> FieldError:
    return {"field": ROW, "code": code, "params": params or {}, "detail": detail}
