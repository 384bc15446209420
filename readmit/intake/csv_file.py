"""Read a source CSV once, in blocks, and refuse it at the first byte that cannot be loaded unchanged.

What is checked here is the form of the file (columns, fields, bytes). What the values mean is judged later, in SQL.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path

from readmit.errors import SourceRefused, printable
from readmit.intake.layout import COLUMNS

BLOCK_BYTES = 8 << 20
# The longest value of the real file has 36 bytes; 256 leaves room and stops a runaway quote or a pasted document.
MAX_FIELD_BYTES = 256
# No row that may be loaded is longer, not even one whose values are quoted and made of quotes alone.
MAX_LINE_BYTES = (2 * MAX_FIELD_BYTES + 3) * len(COLUMNS) + 2

_QUOTED = rb'"[^"]*(?:""[^"]*)*"'
_FIELD = rb"(?:" + _QUOTED + rb'|[^",]*)'
_QUOTED_ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb"){%d}" % (len(COLUMNS) - 1))
_FIELDS = re.compile(rb"(" + _FIELD + rb"),")
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
}
_OTHER_DELIMITERS = {b";": "a semicolon", b"\t": "a tab", b"|": "a vertical bar"}


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a source file: `lines` without line ends, the first one being row `first_row` (from 1)."""

    first_row: int
    lines: list[bytes]


def read_blocks(path: Path, name: str) -> Iterator[Block]:
    """Yield all rows of the file in blocks of about 8 MB, each checked before it is handed out.

    Args:
        path: an unpacked CSV.
        name: what error messages call the file.

    Raises:
        SourceRefused: at the first fault; the message names file, row, column and what to do.
    """
    with BufferedReader(FileIO(path), 1 << 16) as file:
        _check_header(file.readline(MAX_LINE_BYTES), name)
        row = 1
        while data := file.read(BLOCK_BYTES):
            if not data.endswith(b"\n"):
                data += file.readline(
                    MAX_LINE_BYTES
                )  # a line that does not end within them is refused below
            block = Block(row, _lines(data, is_end=not file.peek(1)))
            _check(block, data, name)
            row += len(block.lines)
            yield block
    if row == 1:
        raise SourceRefused(
            f"{name}: row 1, column encounter_id: the file has a header and no rows; send one with rows"
        )


def values_of(line: bytes) -> list[bytes]:
    """Return the values of one row whose quotes are in order, quotes removed."""
    if b'"' not in line:
        return line.split(b",")
    return [_unquoted(field) for field in _FIELDS.findall(line + b",")]


def _unquoted(field: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if field.startswith(b'"') else field


def _lines(data: bytes, is_end: bool) -> list[bytes]:
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    if not lines[-1]:
        lines.pop()
    # Editors leave blank lines at the end of a file; anywhere else a blank line is a lost row.
    while is_end and lines and not lines[-1]:
        lines.pop()
    return lines


def _place(row: int) -> str:
    return f"row {row} (line {row + 1})" if row else "header (line 1)"


def _refuse(name: str, row: int, column: str, what: str) -> SourceRefused:
    return SourceRefused(f"{name}: {_place(row)}, column {column}: {what}")


def _check_header(line: bytes, name: str) -> None:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if line.startswith(mark):
            raise _refuse(
                name, 0, COLUMNS[0], f"the file is {encoding}; save it as plain ASCII CSV"
            )
    if not line:
        raise _refuse(name, 0, COLUMNS[0], "the file is empty; send a CSV with a header and rows")
    if b"\0" in line or not line.isascii():
        raise _refuse(name, 0, COLUMNS[0], "the header is not ASCII text; is this a CSV?")
    if len(line) == MAX_LINE_BYTES:
        what = f"no line end within {MAX_LINE_BYTES} bytes; is this a CSV with one row per line?"
        raise _refuse(name, 0, COLUMNS[0], what)
    if line.lstrip().startswith(b"<"):
        raise _refuse(
            name, 0, COLUMNS[0], "this is a web page, not a CSV; download the file itself"
        )
    found = tuple(
        value.strip().decode() for value in line.rstrip(b"\r\n").replace(b'"', b"").split(b",")
    )
    if found != COLUMNS:
        raise _wrong_header(found, line, name)


def _wrong_header(found: tuple[str, ...], line: bytes, name: str) -> SourceRefused:
    if len(found) == 1:
        for delimiter, called in _OTHER_DELIMITERS.items():
            if line.count(delimiter) >= len(COLUMNS) // 2:
                return _refuse(
                    name, 0, COLUMNS[0], f"columns are separated by {called}; use commas"
                )
    missing = [column for column in COLUMNS if column not in found]
    extra = [column for column in found if column not in COLUMNS]
    twice = sorted({column for column in COLUMNS if found.count(column) > 1})
    expected = f"{len(COLUMNS)} columns are expected, {len(found)} found"
    if twice:
        return _refuse(name, 0, twice[0], f"named more than once ({', '.join(twice)}); {expected}")
    if missing:
        also = f"; unknown: {_some(extra)}" if extra else ""
        return _refuse(
            name,
            0,
            missing[0],
            f"missing: {_some(missing)}{also}; {expected}; is the header there?",
        )
    if extra:
        return _refuse(
            name,
            0,
            _some(extra[:1]),
            f"unknown: {_some(extra)}; {expected}; remove what is unknown",
        )
    wrong = next(i for i, column in enumerate(found) if column != COLUMNS[i])
    return _refuse(
        name,
        0,
        found[wrong],
        f"in the place of {COLUMNS[wrong]}; put the columns into the documented order",
    )


def _some(names: list[str]) -> str:
    first = ", ".join(printable(value[:40]) or "(no name)" for value in names[:5])
    return first + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check(block: Block, data: bytes, name: str) -> None:
    """Check a block with whole-block operations; look at single lines only where one of them fails."""
    commas = len(COLUMNS) - 1
    if b"\0" in data or not data.isascii():
        raise _bad_byte(block, name)
    quoted = b'"' in data
    for row, line in enumerate(block.lines, block.first_row):
        if line.count(b",") != commas or len(line) > MAX_FIELD_BYTES or (quoted and b'"' in line):
            _check_line(line, row, name)
    if data.count(b"\r") != data.count(b"\r\n"):
        row, line = next(
            (n, line) for n, line in enumerate(block.lines, block.first_row) if b"\r" in line
        )
        column = _column_at(line, line.index(b"\r"))
        raise _refuse(
            name, row, column, "a carriage return inside the row; end lines with LF or CR LF"
        )


def _bad_byte(block: Block, name: str) -> SourceRefused:
    bad = re.compile(rb"[\0\x80-\xff]")
    row, line = next(
        (n, line) for n, line in enumerate(block.lines, block.first_row) if bad.search(line)
    )
    place = next(bad.finditer(line)).start()
    what = "a NUL byte" if line[place] == 0 else f"the non-ASCII byte 0x{line[place]:02x}"
    return _refuse(
        name,
        row,
        _column_at(line, place),
        f"{what} at byte {place + 1} of the line; use plain ASCII",
    )


def _check_line(line: bytes, row: int, name: str) -> None:
    if b'"' in line and not _QUOTED_ROW.fullmatch(line):
        _refuse_quotes(line, row, name)
    values = values_of(line)
    for column, value in zip(COLUMNS, values, strict=False):
        if len(value) > MAX_FIELD_BYTES:
            is_whole = len(line) < MAX_LINE_BYTES
            what = (
                f"{len(value)} bytes" if is_whole else f"no line end within {MAX_LINE_BYTES} bytes"
            )
            raise _refuse(name, row, column, f"{what}; a field holds at most {MAX_FIELD_BYTES}")
    if len(values) != len(COLUMNS):
        raise _wrong_count(values, row, name)


def _refuse_quotes(line: bytes, row: int, name: str) -> None:
    """Raise when it is the quotes that are wrong, not the number of fields."""
    position, ended = 0, line + b","
    while field := _FIELDS.match(ended, position):
        position = field.end()
    if position < len(ended):
        what = (
            "a quote is not closed on this line, or stands inside a value; quote whole values only"
        )
        raise _refuse(name, row, _column_at(line, position), what)


def _wrong_count(values: list[bytes], row: int, name: str) -> SourceRefused:
    if values == [b""]:
        return _refuse(name, row, COLUMNS[0], "the line is blank; remove it")
    found = f"{len(values)} field{'s' if len(values) > 1 else ''}, {len(COLUMNS)} expected"
    if len(values) > len(COLUMNS):
        extra = values[len(COLUMNS)].decode()[:40]
        what = f"{found}; the first one too many is {extra!r}; is there a comma inside a value?"
        return _refuse(name, row, COLUMNS[-1], what)
    what = f"{found}; the row ends before this column; is the file cut off?"
    return _refuse(name, row, COLUMNS[len(values)], what)


def _column_at(line: bytes, place: int) -> str:
    """Name the column that holds byte `place` of the line."""
    before = re.sub(_QUOTED, b"", line[:place]).count(b",")
    return COLUMNS[min(before, len(COLUMNS) - 1)]
