"""CSV in, scored CSV out: text and rows only, no Streamlit.

A file of 20 MB may have ten million rows, or one row of ten million cells. So a file is read row by
row, and only the rows of one chunk are in memory.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import NamedTuple

from readmit.client.answer_types import FieldError, Value
from readmit.client.row_cells import table_rows
from readmit.contract.stay_columns import ID_NAMES, cell_reader, columns_of, known_keys
from readmit.tables.delimiters import INDEX_NAME, find_header
from readmit.tables.encodings import open_as_utf8
from readmit.tables.file_kinds import N_FIRST_BYTES, foreign_kind
from ui.form import Field
from ui.language import Code

CHUNK_ROWS = 500  # rows in one call: a step of the progress bar, well under the API's limit
MAX_ROWS = 120_000  # one reading of them takes about a second
MAX_COLUMNS = 500
MAX_ROW_CHARACTERS = 1 << 16
PREVIEW_ROWS = 5
MAX_NAMES = 5  # listed in a message
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class Spreadsheet(NamedTuple):
    """How a spreadsheet of one language writes CSV: a mark makes it read UTF-8."""

    mark: str
    delimiter: str
    decimal_point: str


# Spanish spreadsheets open a CSV in columns only if semicolons separate them.
SPREADSHEETS: Mapping[Code, Spreadsheet] = {
    "en": Spreadsheet("", ",", "."),
    "es": Spreadsheet("\ufeff", ";", ","),
}


class FileRow(NamedTuple):
    """A row of a file: the line that it ends on, and its cells under the names of the header.

    A row with too many, too few or only empty cells has an `error`; its cells are for the download
    only. `extra_cells` has those behind the last column, as the file writes them.
    """

    line: int
    cells: dict[str, str]
    error: FieldError | None = None
    extra_cells: str = ""


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
    delimiter: str = ","
    header_line: int = 1
    has_extra_cells: bool = False

    @property
    def is_too_long(self) -> bool:
        """Return whether the file has more rows than one upload may have."""
        return self.n_rows > MAX_ROWS

    def rows(self) -> Iterator[FileRow]:
        """Read the rows from the file again, one after the other."""
        return rows(self.content, self.delimiter, self.header_line)


def read(content: bytes, fields: Sequence[Field]) -> Upload:
    """Read a CSV file to its end, or until it has too many rows.

    Raises:
        UnreadableFile: it is no CSV or not UTF-8, its header names no field or one twice, or a row
            is too long.
    """
    file, _ = open_as_utf8(io.BytesIO(content))
    kind = foreign_kind(file.peek(N_FIRST_BYTES)[:N_FIRST_BYTES])
    if kind:
        raise UnreadableFile("file_kind", kind=kind.name)
    features = [field.feature for field in fields]
    delimiter, header_line = find_header(file, known_keys(features))
    _, header = next(_records(content, delimiter, header_line), (0, []))
    if len(header) > MAX_COLUMNS:
        raise UnreadableFile("file_columns", columns=len(header), limit=MAX_COLUMNS)
    if not header:
        raise UnreadableFile("file_empty")
    header = _named(header)
    columns = columns_of(header, features)
    if columns.repeated:
        raise UnreadableFile("file_twice", names=", ".join(columns.repeated[:MAX_NAMES]))
    n_rows = 0
    preview = []
    has_extra_cells = False
    for row in rows(content, delimiter, header_line):
        if n_rows < PREVIEW_ROWS:
            preview.append(row.cells)
        has_extra_cells = has_extra_cells or bool(row.extra_cells)
        n_rows += 1
        if n_rows > MAX_ROWS:
            break
    if len(columns.missing) == len(fields):
        raise UnreadableFile("file_header")
    return Upload(
        content, n_rows, preview, columns.missing, delimiter, header_line, has_extra_cells
    )


def rows(content: bytes, delimiter: str, header_line: int) -> Iterator[FileRow]:
    """Yield each row of a CSV file, as `table_rows` counts them.

    Raises:
        UnreadableFile: as `read` does.
    """
    records = _records(content, delimiter, header_line)
    _, header = next(records, (0, []))
    header = _named(header)
    for line, cells, error in table_rows(records, len(header), MAX_ROWS):
        named_cells = dict(zip_longest(header, cells[: len(header)], fillvalue=""))
        extra_cells = ""
        if len(cells) > len(header):
            text = io.StringIO()
            csv.writer(text, delimiter=delimiter, lineterminator="").writerow(cells[len(header) :])
            extra_cells = text.getvalue()
        yield FileRow(line, named_cells, error, extra_cells)


def _named(header: list[str]) -> list[str]:
    """Return the header with a name for each further column that has none: cells go by names."""
    names: list[str] = []
    for position, name in enumerate(header):
        if name or name not in names:
            names.append(name)
        else:
            names.append(f"Unnamed: {position}")  # as pandas does
    return names


def _records(content: bytes, delimiter: str, header_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a CSV file, from its header, with the number of its last line."""
    lines = _Lines(content)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            lines.start_record()
            if reader.line_num >= header_line:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UnreadableFile("file_quotes", line=reader.line_num, detail=error) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile("file_not_utf8", byte=_first_bad_byte(content)) from error


class _Lines:
    """The lines of a file for `csv.reader`, which puts no limit on the lines of one record."""

    def __init__(self, content: bytes) -> None:
        file, _ = open_as_utf8(io.BytesIO(content))
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="")
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


def row_reader(
    header: Sequence[str], fields: Sequence[Field]
) -> Callable[[Mapping[str, str]], dict[str, Value]]:
    """Return the function from a row to its inputs and keys with the types of the contract.

    Cells are read as the API reads those of a CSV. One that does not have its type stays text, and
    the API says what is wrong with it. An empty cell of a key is left out, as other columns are.
    """
    features = {field.name: field.feature for field in fields}
    columns = columns_of(header, list(features.values()))
    readers = []
    for name, field_name in zip(header, columns.names, strict=True):
        if field_name is None:
            continue
        feature = features.get(field_name)
        is_id = field_name in ID_NAMES
        if feature is not None or is_id:
            read = cell_reader(feature, is_id=is_id, is_source=columns.is_source)
            readers.append((name, field_name, is_id, read))

    def typed_row(row: Mapping[str, str]) -> dict[str, Value]:
        values = {}
        for name, field_name, is_id, read in readers:
            cell = row[name]
            if cell or not is_id:
                values[field_name] = read(cell)
        return values

    return typed_row


def columns_by_field(header: Sequence[str], fields: Sequence[Field]) -> dict[str, str]:
    """Return what a file calls each field: the source file's names are others than the form's."""
    columns = columns_of(header, [field.feature for field in fields])
    names = {}
    for field_name, name in zip(columns.names, header, strict=True):
        if field_name is not None:
            names[field_name] = name
    return names


def unread_columns(header: Sequence[str], fields: Sequence[Field]) -> list[str]:
    """Return the columns of a file that are no inputs, no keys and no row numbers."""
    names = columns_by_field(header, fields)
    read_names = [names.get(field.name) for field in fields]
    read_names += [names.get(name) for name in ID_NAMES]
    unread = []
    for name in header:
        if name not in read_names and not INDEX_NAME.fullmatch(name):
            unread.append(name)
    return unread


def typed(row: Mapping[str, str], fields: Sequence[Field]) -> dict[str, Value]:
    """Return the inputs and keys of one row with the types of the contract."""
    return row_reader(list(row), fields)(row)


def chunks(rows: Iterable[FileRow], size: int = CHUNK_ROWS) -> Iterator[list[FileRow]]:
    """Yield the rows in chunks of `size`."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def template(fields: Sequence[Field], code: Code = "en") -> str:
    """Return a CSV with one row of typical values."""
    return write([{field.name: field.default for field in fields}], code=code)


def write(
    rows: Sequence[Mapping[str, Value | None]], has_header: bool = True, code: Code = "en"
) -> str:
    """Return rows as CSV text that a spreadsheet of a language opens in columns.

    An apostrophe stands before a cell that would run as a formula. The names of columns are cells
    too: an upload may have named them.
    """
    if not rows:
        return ""
    spreadsheet = SPREADSHEETS[code]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=spreadsheet.delimiter, lineterminator="\n")
    names = list(rows[0])
    if has_header:
        out.write(spreadsheet.mark)
        writer.writerow([_without_formula(name) for name in names])
    for row in rows:
        cells = []
        for name in names:
            value = row[name]
            if isinstance(value, float):
                value = str(value).replace(".", spreadsheet.decimal_point)
            cells.append(_without_formula(value))
        writer.writerow(cells)
    return out.getvalue()


def _without_formula(value: Value | None) -> Value | None:
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value
