"""Rows of a CSV with too many or too few cells, as the API and the form judge them."""

from readmit.client.answer_types import FieldError, FieldErrorCode

ROW = "row"  # stands for a field in the error: no cell can be assigned to one
WRONG_NUMBER_OF_CELLS = "has {cells} cells, but the header has {columns}"


def cells_error(n_cells: int, n_columns: int) -> FieldError | None:
    """Return the error of a row that has not a cell for each column; None if it has.

    Which of its cells stand under the right name is not known, so none of them is read. The rows
    before and behind it are read.
    """
    if n_cells == n_columns:
        return None
    params = {"cells": n_cells, "columns": n_columns}
    return {
        "field": ROW,
        "code": FieldErrorCode.WRONG_NUMBER_OF_CELLS,
        "params": params,
        "detail": WRONG_NUMBER_OF_CELLS.format(**params),
    }
