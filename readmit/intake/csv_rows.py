"""Check the rows of a source CSV: bytes, quotes, number and length of fields."""

import re
from dataclasses import dataclass

from readmit.errors import SourceRefused
from readmit.intake.csv_fields import bad_quote_position, column_at, refusal, values_of
from readmit.intake.layout import COLUMNS, MAX_FIELD_BYTES, MAX_LINE_BYTES

NOT_ASCII = re.compile(rb"[\0\x80-\xff]")
CARRIAGE_RETURN = re.compile(rb"\r")


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file, without line ends; the first is row `first_row` (from 1)."""

    first_row: int
    lines: list[bytes]


def check_rows(block: Block, data: bytes, name: str) -> None:
    """Check the rows of a block, with operations on the whole block where they are enough.

    Args:
        block: the rows.
        data: the same rows as they stand in the file, line ends included.
        name: what error messages call the file.

    Raises:
        SourceRefused: a row cannot be loaded unchanged.
    """
    if b"\0" in data or not data.isascii():
        raise _bad_byte(block, NOT_ASCII, name)
    has_quotes = b'"' in data
    n_commas = len(COLUMNS) - 1
    for row, line in enumerate(block.lines, block.first_row):
        if (
            line.count(b",") != n_commas
            or len(line) > MAX_FIELD_BYTES  # else no field can be too long
            or (has_quotes and b'"' in line)
        ):
            _check_line(line, row, name)
    if data.count(b"\r") != data.count(b"\r\n"):
        raise _bad_byte(block, CARRIAGE_RETURN, name)


def _bad_byte(block: Block, pattern: re.Pattern[bytes], name: str) -> SourceRefused:
    """Return the error for the first byte of the block that the pattern finds."""
    is_bad = [pattern.search(line) is not None for line in block.lines]
    index = is_bad.index(True)
    line = block.lines[index]
    position = next(pattern.finditer(line)).start()
    byte = line[position]
    if byte == ord("\r"):
        problem = "a carriage return inside the row; end lines with LF or CR LF"
    elif byte == 0:
        problem = f"a NUL byte at byte {position + 1} of the line; use plain ASCII"
    else:
        problem = (
            f"the non-ASCII byte 0x{byte:02x} at byte {position + 1} of the line; use plain ASCII"
        )
    return refusal(name, block.first_row + index, column_at(line, position), problem)


def _check_line(line: bytes, row: int, name: str) -> None:
    position = bad_quote_position(line)
    if position is not None:
        problem = (
            "a quote is not closed on this line, or stands inside a value; quote whole values only"
        )
        raise refusal(name, row, column_at(line, position), problem)
    values = values_of(line)
    for column, value in zip(COLUMNS, values, strict=False):
        if len(value) > MAX_FIELD_BYTES:
            size = f"{len(value)} bytes"
            if len(line) >= MAX_LINE_BYTES:
                size = f"no line end within {MAX_LINE_BYTES} bytes"
            problem = f"{size}; a field holds at most {MAX_FIELD_BYTES}"
            raise refusal(name, row, column, problem)
    if len(values) != len(COLUMNS):
        raise _wrong_count(values, row, name)


def _wrong_count(values: list[bytes], row: int, name: str) -> SourceRefused:
    if values == [b""]:
        return refusal(name, row, COLUMNS[0], "the line is blank; remove it")
    plural = "s" if len(values) > 1 else ""
    count = f"{len(values)} field{plural}, {len(COLUMNS)} expected"
    if len(values) > len(COLUMNS):
        problem = f"{count}; is there a comma inside a value?"
        return refusal(name, row, COLUMNS[-1], problem)
    problem = f"{count}; the row ends before this column; is the file cut off?"
    return refusal(name, row, COLUMNS[len(values)], problem)
