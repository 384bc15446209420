"""The fields of one line of a source CSV, and the refusal that names row and column."""

import re

from readmit.errors import SourceRefused
from readmit.intake.layout import COLUMNS

_QUOTED = rb'"[^"]*(?:""[^"]*)*"'
_FIELD = rb"(?:" + _QUOTED + rb'|[^",]*)'
_QUOTED_ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb"){%d}" % (len(COLUMNS) - 1))
_FIELDS = re.compile(rb"(" + _FIELD + rb"),")


def values_of(line: bytes) -> list[bytes]:
    """Return the values of one row whose quotes are in order, quotes removed."""
    if b'"' not in line:
        return line.split(b",")
    values = []
    for field in _FIELDS.findall(line + b","):
        is_quoted = field.startswith(b'"')
        values.append(field[1:-1].replace(b'""', b'"') if is_quoted else field)
    return values


def bad_quote_position(line: bytes) -> int | None:
    """Return the first byte that a wrong quote leaves in no field; None if quotes are in order."""
    if b'"' not in line or _QUOTED_ROW.fullmatch(line):
        return None
    position = 0
    ended = line + b","
    while field := _FIELDS.match(ended, position):
        position = field.end()
    return position if position < len(ended) else None


def column_at(line: bytes, position: int) -> str:
    """Name the column that holds a byte of the line."""
    n_commas = re.sub(_QUOTED, b"", line[:position]).count(b",")
    return COLUMNS[min(n_commas, len(COLUMNS) - 1)]


def refusal(name: str, row: int, column: str, problem: str) -> SourceRefused:
    """Return the error for a fault of a file.

    Args:
        name: what the message calls the file.
        row: from 1; 0 is the header.
        column: the column with the fault.
        problem: what is wrong and what to do.
    """
    line = f"row {row} (line {row + 1})" if row else "header (line 1)"
    return SourceRefused(f"{name}: {line}, column {column}: {problem}")
