"""CSV in, scored CSV out: text and rows only, no Streamlit."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui.form import Field, Value

CHUNK = 500  # rows in a call: a step of the progress bar, well under the API's limit
MAX_ROWS = 100_000  # what a browser session holds comfortably
EXTRA = ("patient_nbr", "encounter_id")


class UnreadableFile(Exception):
    """An upload is not a CSV file that we can read; the message says why."""


@dataclass(frozen=True)
class Upload:
    """The rows of an uploaded file, and which inputs it lacks."""

    rows: list[dict[str, str]]
    missing: tuple[str, ...]


def read(content: bytes, fields: Sequence[Field]) -> Upload:
    """Return the rows of a CSV file.

    Raises:
        UnreadableFile: not UTF-8, no header, or a row whose number of fields differs from the header's.
    """
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        rows = [_row(header, cells, reader.line_num) for cells in reader if cells]
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise UnreadableFile(str(error)) from error
    if not header:
        raise UnreadableFile("it is empty")
    return Upload(rows, tuple(field.name for field in fields if field.name not in header))


def _row(header: Sequence[str], cells: Sequence[str], line: int) -> dict[str, str]:
    if len(cells) != len(header):
        raise UnreadableFile(f"line {line} has {len(cells)} fields, the header {len(header)}")
    return dict(zip(header, cells, strict=True))


def typed(row: Mapping[str, str], fields: Sequence[Field]) -> dict[str, Any]:
    """Return a row with the types of the contract; what does not fit stays text and the API says what is wrong."""
    kinds = {field.name: field for field in fields}
    result = {name: _cell(value, kinds[name]) for name, value in row.items() if name in kinds}
    keys = {name: _number(row[name]) for name in EXTRA if row.get(name)}
    return result | keys


def _cell(value: str, field: Field) -> Value:
    if field.kind == "flag":
        return {"true": True, "1": True, "false": False, "0": False}.get(
            value.strip().lower(), value
        )
    is_number = field.kind == "number" or (field.options and isinstance(field.options[0], int))
    return _number(value) if is_number else value


def _number(value: str) -> Value:
    for cast in (int, float):
        try:
            return cast(value)
        except ValueError:
            continue
    return value


def chunks(
    rows: Sequence[dict[str, Any]], size: int = CHUNK
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield `(index of the first row, rows)` in pieces of `size`."""
    for start in range(0, len(rows), size):
        yield start, list(rows[start : start + size])


def template(fields: Sequence[Field]) -> str:
    """Return a CSV with one row of usual values."""
    return write([{field.name: field.default for field in fields}])


def write(rows: Sequence[Mapping[str, Value | None]]) -> str:
    """Return rows as CSV text. Cells that a spreadsheet would run as a formula are quoted with an apostrophe."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _harmless(value: Value | None) -> Value | None:
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula else value
