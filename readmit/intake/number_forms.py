"""Refuse numbers whose meaning would have to be guessed: separators, and ids without all digits."""

import re

from readmit.intake.csv_fields import refusal
from readmit.intake.csv_rows import Block
from readmit.intake.dialect import Dialect
from readmit.intake.layout import COLUMNS
from readmit.intake.source_values import DIAGNOSES, NUMBERS

IDS = ("encounter_id", "patient_nbr")
SCIENTIFIC = re.compile(rb"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+")
SEPARATED = re.compile(rb"[+-]?\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d+)?|[+-]?\d*,\d+")
DECIMAL_COMMA = re.compile(rb"[VE]?\d+,\d*")


def check_numbers(block: Block, name: str, dialect: Dialect) -> None:
    """Refuse the first number of the block that has more than one reading.

    Args:
        block: rows in canonical form.
        name: what error messages call the file.
        dialect: of the file.

    Raises:
        SourceRefused: a decimal comma, a thousands separator, or an id in scientific notation.
    """
    faults = []
    for column, values in zip(COLUMNS, block.columns, strict=True):
        is_number = column in NUMBERS and not b"".join(values).isdigit()
        # A comma inside a value stands in quotes.
        is_code = column in DIAGNOSES and block.has_quotes
        if not is_number and not is_code:
            continue
        for value in {*values}:
            problem = "" if value.isdigit() else _problem(column, value)
            if problem:
                faults.append((values.index(value), column, problem))
    if faults:
        index, column, problem = min(faults)
        raise refusal(name, block.first_row + index, column, problem, dialect.header_line)


def _problem(column: str, value: bytes) -> str:
    if column in DIAGNOSES:
        if DECIMAL_COMMA.fullmatch(value):
            return "a decimal comma; write codes with a point"
    elif column in IDS and SCIENTIFIC.fullmatch(value):
        return "an id in scientific notation, which has lost digits; save the column as text"
    elif SEPARATED.fullmatch(value):
        return (
            "a decimal comma or a thousands separator, which has two readings; "
            "save numbers with digits only"
        )
    return ""
