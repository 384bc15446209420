"""Check the rows of a source CSV: bytes, quotes, number and length of fields."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from readmit.errors import SourceRefused
from readmit.intake.csv_fields import bad_quote_position, column_at, refusal, values_of
from readmit.intake.dialect import Dialect
from readmit.intake.layout import COLUMNS, MAX_FIELD_BYTES, MAX_LINE_BYTES
from readmit.tables.delimiters import DELIMITERS
from readmit.tables.encodings import NO_BREAK_SPACE

NOT_ASCII = re.compile(rb"[\0\x80-\xff]")
CARRIAGE_RETURN = re.compile(rb"\r")

# The number of a row in its file, from 1, and its bytes.
NumberedRow = tuple[int, bytes]


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file, without line ends; the first is row `first_row` (from 1)."""

    first_row: int
    lines: list[bytes]

    @cached_property
    def has_quotes(self) -> bool:
        """Whether a quote stands in any row."""
        return any(b'"' in line for line in self.lines)

    def numbered(self) -> Iterator[NumberedRow]:
        """Yield the rows with their numbers."""
        return enumerate(self.lines, self.first_row)

    @cached_property
    def columns(self) -> list[Sequence[bytes]]:
        """The values by column; only of rows in canonical form."""
        if self.has_quotes:
            return list(zip(*map(values_of, self.lines), strict=True))
        values = b",".join(self.lines).split(b",")
        n_columns = len(COLUMNS)
        return [values[position::n_columns] for position in range(n_columns)]


def numbered_rows(blocks: Iterable[Block]) -> Iterator[NumberedRow]:
    """Yield the rows of all blocks with their numbers."""
    for block in blocks:
        yield from block.numbered()


def check_rows(block: Block, data: bytes, name: str, dialect: Dialect) -> None:
    """Check the rows of a block, with operations on the whole block where they are enough.

    Args:
        block: the rows as they stand in the file.
        data: the same rows, line ends included.
        name: what error messages call the file.
        dialect: of the file.

    Raises:
        SourceRefused: a row cannot be loaded unchanged.
    """
    if b"\0" in data or not data.isascii():
        raise _bad_byte(block, NOT_ASCII, name, dialect)
    n_delimiters = len(dialect.columns) - 1
    delimiter = dialect.delimiter
    for row, line in enumerate(block.lines, block.first_row):
        if (
            line.count(delimiter) != n_delimiters
            or len(line) > MAX_FIELD_BYTES  # else no field can be too long
            or (block.has_quotes and b'"' in line)
        ):
            _check_line(line, row, name, dialect)
    if data.count(b"\r") != data.count(b"\r\n"):
        raise _bad_byte(block, CARRIAGE_RETURN, name, dialect)


def _bad_byte(
    block: Block, pattern: re.Pattern[bytes], name: str, dialect: Dialect
) -> SourceRefused:
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
    elif line.startswith(codecs.BOM_UTF8, position):
        problem = "a byte order mark inside the file; were files joined? remove it"
    elif line.startswith(NO_BREAK_SPACE, position):
        problem = f"a no-break space at byte {position + 1} of the line; write an ordinary one"
    elif dialect.encoding.codec:
        problem = f"a non-ASCII character, number {position + 1} of the line; use plain ASCII"
    else:
        problem = (
            f"the non-ASCII byte 0x{byte:02x} at byte {position + 1} of the line; use plain ASCII"
        )
    column = column_at(line, position, dialect)
    return refusal(name, block.first_row + index, column, problem, dialect.header_line)


def _check_line(line: bytes, row: int, name: str, dialect: Dialect) -> None:
    """Refuse the line for its quotes, for a long field, or for its number of fields."""
    position = bad_quote_position(line, dialect)
    if position is not None:
        problem = (
            "a quote is not closed on this line, or stands inside a value; "
            "quote whole values only, without line ends in them"
        )
        column = column_at(line, position, dialect)
        raise refusal(name, row, column, problem, dialect.header_line)
    values = values_of(line, dialect.delimiter)
    for column, value in zip(dialect.columns, values, strict=False):
        if len(value) > MAX_FIELD_BYTES:
            size = f"{len(value)} bytes"
            if len(line) >= MAX_LINE_BYTES:
                size = f"no line end within {MAX_LINE_BYTES} bytes"
            problem = f"{size}; a field holds at most {MAX_FIELD_BYTES}"
            raise refusal(name, row, column, problem, dialect.header_line)
    if len(values) != len(dialect.columns):
        column, problem = _wrong_number_of_fields(line, row, values, dialect)
        raise refusal(name, row, column, problem, dialect.header_line)


def _wrong_number_of_fields(
    line: bytes, row: int, values: Sequence[bytes], dialect: Dialect
) -> tuple[str, str]:
    """Return the column and the problem of a row with too many or too few fields."""
    n_expected = len(dialect.columns)
    plural = "s" if len(values) > 1 else ""
    count = f"{len(values)} field{plural}, {n_expected} expected"
    if values == [b""]:
        return dialect.columns[0], "the line is blank; remove it"
    if b"\r" in line:
        problem = "a carriage return inside the row; end lines with LF or CR LF"
        return dialect.columns[min(len(values), n_expected) - 1], problem
    if len(values) > n_expected:
        remedy = f"is there a {DELIMITERS[dialect.delimiter]} inside a value"
        if values[-1] == b"":
            remedy += ", or behind the last one"
        elif row == 1 and len(values) == n_expected + 1:
            remedy += ", or a row name in front (in R: write.csv(..., row.names = FALSE))"
        return dialect.columns[-1], f"{count}; {remedy}?"
    remedy = "the row ends before this column; is the file cut off?"
    if line.startswith(b'"') and len(values) == 1:
        remedy = "the whole line stands in quotes; remove them"
    elif len(values) == 1 and row > 1:
        remedy = "is the file cut off, or is this a note below the table?"
    return dialect.columns[len(values)], f"{count}; {remedy}"
