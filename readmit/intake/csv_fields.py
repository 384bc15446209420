"""The fields of one line of a source CSV, and the refusal that names row and column."""

import re
from functools import cache

from readmit.errors import SourceRefused
from readmit.intake.dialect import Dialect

_QUOTED = rb'"[^"]*(?:""[^"]*)*"'


@cache
def _field(delimiter: bytes) -> re.Pattern[bytes]:
    """Return the pattern of one field with the delimiter behind it."""
    escaped = re.escape(delimiter)
    return re.compile(rb"(" + _QUOTED + rb'|[^"' + escaped + rb"]*)" + escaped)


@cache
def _whole_row(delimiter: bytes, n_fields: int) -> re.Pattern[bytes]:
    """Return the pattern of a row, with a delimiter behind its last field too."""
    return re.compile(rb"(?:%b){%d}" % (_field(delimiter).pattern, n_fields))


def values_of(line: bytes, delimiter: bytes = b",") -> list[bytes]:
    """Return the values of one row whose quotes are in order, quotes removed."""
    if b'"' not in line:
        return line.split(delimiter)
    values = []
    for field in _field(delimiter).findall(line + delimiter):
        is_quoted = field.startswith(b'"')
        values.append(field[1:-1].replace(b'""', b'"') if is_quoted else field)
    return values


def bad_quote_position(line: bytes, dialect: Dialect) -> int | None:
    """Return the first byte that a wrong quote leaves in no field; None if quotes are in order."""
    if b'"' not in line:
        return None
    delimiter = dialect.delimiter
    ended = line + delimiter
    if _whole_row(delimiter, len(dialect.columns)).fullmatch(ended):
        return None
    position = 0
    while field := _field(delimiter).match(ended, position):
        position = field.end()
    return position if position < len(ended) else None


def column_at(line: bytes, position: int, dialect: Dialect) -> str:
    """Name the column that holds a byte of the line."""
    n_delimiters = re.sub(_QUOTED, b"", line[:position]).count(dialect.delimiter)
    return dialect.columns[min(n_delimiters, len(dialect.columns) - 1)]


def refusal(name: str, row: int, column: str, problem: str, header_line: int = 1) -> SourceRefused:
    """Return the error for a fault of a file.

    Args:
        name: what the message calls the file.
        row: from 1; 0 is the header.
        column: the column with the fault.
        problem: what is wrong and what to do; never a value of a row.
        header_line: the line of the header, from 1.
    """
    line = f"header (line {header_line})"
    if row:
        line = f"row {row} (line {row + header_line})"
    return SourceRefused(f"{name}: {line}, column {column or '(no name)'}: {problem}")
