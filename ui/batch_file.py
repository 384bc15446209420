"""CSV in, scored CSV out: text and rows only, no Streamlit."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import Value
from ui.form import Field

CHUNK_ROWS = 500  # rows in one call: a step of the progress bar, well under the API's limit
MAX_ROWS = 100_000  # what a browser session holds comfortably
KEYS = ("patient_nbr", "encounter_id")
FLAGS: Mapping[str, Value] = {"true": True, "1": True, "false": False, "0": False}
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class UnreadableFile(Exception):
    """An upload is not a CSV file that we can read; `key` is a text of the form that says why."""

    def __init__(self, key: str, **parameters: object) -> None:
        super().__init__(f"{key} {parameters}")
        self.key = key
        self.parameters = parameters


@dataclass(frozen=True)
class Upload:
    """The rows of an uploaded file, and the inputs that have no column."""

    rows: list[dict[str, str]]
    missing: tuple[str, ...]


def read(content: bytes, fields: Sequence[Field]) -> Upload:
    """Return the rows of a CSV file.

    Raises:
        UnreadableFile: it is not UTF-8, its header names no field, or a row has more or fewer
            fields than the header.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile("file_not_utf8", byte=error.start) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        rows = [_row(header, cells, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise UnreadableFile("file_quotes", line=reader.line_num, detail=error) from error
    if not header:
        raise UnreadableFile("file_empty")
    missing = [field.name for field in fields if field.name not in header]
    if len(missing) == len(fields):  # most often columns are separated by semicolons
        raise UnreadableFile("file_header")
    return Upload(rows, tuple(missing))


def _row(header: Sequence[str], cells: Sequence[str], line: int) -> dict[str, str]:
    if len(cells) != len(header):
        raise UnreadableFile("file_cells", line=line, cells=len(cells), columns=len(header))
    return dict(zip(header, cells, strict=True))


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
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return text


def chunks(
    rows: Sequence[Mapping[str, Value]], size: int = CHUNK_ROWS
) -> Iterator[Sequence[Mapping[str, Value]]]:
    """Yield the rows in chunks of `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def template(fields: Sequence[Field]) -> str:
    """Return a CSV with one row of typical values."""
    return write([{field.name: field.default for field in fields}])


def write(rows: Sequence[Mapping[str, Value | None]]) -> str:
    """Return rows as CSV text. An apostrophe stands before a cell that would run as a formula."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _without_formula(value) for name, value in row.items()})
    return out.getvalue()


def _without_formula(value: Value | None) -> Value | None:
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value
