"""CSV in, scored CSV out: text and rows only, no Streamlit.

A file of 20 MB may have ten million rows, or one row of ten million cells. So a file is read row by
row, and only the rows of one chunk are in memory.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from readmit.client.answer_types import Value
from ui.form import Field

CHUNK_ROWS = 500  # rows in one call: a step of the progress bar, well under the API's limit
MAX_ROWS = 120_000  # one reading of them takes about a second
MAX_COLUMNS = 500
MAX_ROW_CHARACTERS = 1 << 16
PREVIEW_ROWS = 5
KEYS = ("patient_nbr", "encounter_id")
FLAGS: Mapping[str, Value] = {"true": True, "1": True, "false": False, "0": False}
# As the API's CSV reads numbers: Python also takes 1_000, nan and digits of any script.
NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class UnreadableFile(Exception):
    """An upload is not a CSV file that we can read; `key` is a text of the form that says why."""

    def __init__(self, key: str, **parameters: object) -> None:
        super().__init__(f"{key} {parameters}")
        self.key = key
        self.parameters = parameters


@dataclass(frozen=True)
class Upload:
    """An uploaded file that can be read: its number of rows, and the inputs without a column.

    `n_rows` is `MAX_ROWS` + 1 when the file has more rows than `MAX_ROWS`: they are not counted.
    """

    content: bytes
    n_rows: int
    preview: list[dict[str, str]]
    missing: tuple[str, ...]

    @property
    def is_too_long(self) -> bool:
        """Return whether the file has more rows than one upload may have."""
        return self.n_rows > MAX_ROWS

    def rows(self) -> Iterator[dict[str, str]]:
        """Read the rows from the file again, one after the other."""
        return rows(self.content)


def read(content: bytes, fields: Sequence[Field]) -> Upload:
    """Read a CSV file to its end, or until it has too many rows.

    Raises:
        UnreadableFile: it is not UTF-8, its header names no field, a row is too long, or a row has
            more or fewer fields than the header.
    """
    header = _header(content)
    if not header:
        raise UnreadableFile("file_empty")
    n_rows = 0
    preview = []
    for row in rows(content):
        if n_rows < PREVIEW_ROWS:
            preview.append(row)
        n_rows += 1
        if n_rows > MAX_ROWS:
            break
    missing = [field.name for field in fields if field.name not in header]
    if len(missing) == len(fields):  # most often columns are separated by semicolons
        raise UnreadableFile("file_header")
    return Upload(content, n_rows, preview, tuple(missing))


def rows(content: bytes) -> Iterator[dict[str, str]]:
    """Yield each row of a CSV file under the names of its header.

    Raises:
        UnreadableFile: as `read` does.
    """
    records = _records(content)
    _, header = next(records, (0, []))
    for line, cells in records:
        if not cells:
            continue
        if len(cells) != len(header):
            raise UnreadableFile("file_cells", line=line, cells=len(cells), columns=len(header))
        yield dict(zip(header, cells, strict=True))


def _header(content: bytes) -> list[str]:
    _, header = next(_records(content), (0, []))
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile("file_columns", columns=len(header), limit=MAX_COLUMNS)
    return header


def _records(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a CSV file with the number of its last line."""
    lines = _Lines(content)
    reader = csv.reader(lines, strict=True)
    try:
        for cells in reader:
            lines.start_record()
            yield reader.line_num, cells
    except csv.Error as error:
        raise UnreadableFile("file_quotes", line=reader.line_num, detail=error) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile("file_not_utf8", byte=_first_bad_byte(content)) from error


class _Lines:
    """The lines of a file for `csv.reader`, which puts no limit on the lines of one record."""

    def __init__(self, content: bytes) -> None:
        self._file = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        self._n_characters = 0
        self._line = 0

    def start_record(self) -> None:
        """Count the characters of a new record."""
        self._n_characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_CHARACTERS + 1)
        self._line += 1
        self._n_characters += len(line)
        if self._n_characters > MAX_ROW_CHARACTERS:
            raise UnreadableFile("file_long_row", line=self._line, limit=MAX_ROW_CHARACTERS)
        if not line:
            raise StopIteration
        return line


def _first_bad_byte(content: bytes) -> int:
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return len(content)


def typed(row: Mapping[str, str], fields: Sequence[Field]) -> dict[str, Value]:
    """Return the inputs and keys of a row with the types of the contract.

    A cell that does not have its type stays text, and the API says what is wrong with it.
    """
    values = {field.name: _cell(row[field.name], field) for field in fields if field.name in row}
    for key in KEYS:
        if row.get(key):
            values[key] = _number(row[key])
    return values


def _cell(text: str, field: Field) -> Value:
    if field.kind == "flag":
        return FLAGS.get(text.strip().lower(), text)
    if field.kind == "number" or (field.options and isinstance(field.options[0], int)):
        return _number(text)
    return text


def _number(text: str) -> Value:
    if not NUMBER.fullmatch(text.strip()):
        return text
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return text


def chunks(
    rows: Iterable[Mapping[str, str]], size: int = CHUNK_ROWS
) -> Iterator[list[Mapping[str, str]]]:
    """Yield the rows in chunks of `size`."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def template(fields: Sequence[Field]) -> str:
    """Return a CSV with one row of typical values."""
    return write([{field.name: field.default for field in fields}])


def write(rows: Sequence[Mapping[str, Value | None]], has_header: bool = True) -> str:
    """Return rows as CSV text. An apostrophe stands before a cell that would run as a formula.

    The names of columns are cells too: an upload may have named them.
    """
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(rows[0])
    if has_header:
        writer.writerow([_without_formula(name) for name in names])
    for row in rows:
        writer.writerow([_without_formula(row[name]) for name in names])
    return out.getvalue()


def _without_formula(value: Value | None) -> Value | None:
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value
