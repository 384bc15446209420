"""Bodies of batch calls as rows, and their answers as CSV."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import orjson

from readmit.client.answer_types import BatchAnswer, FieldErrorCode, ProblemCode
from serving.body_limit import SMALL_BYTES
from serving.problems import Problem, field_error
from serving.schema import RequestSchema, utf8_json

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
SPARE_SIGNS = 1_000  # brackets, colons and line ends that may stand in texts
CSV_COLUMNS = ("row", "probability", "risk", "history", "model_version", "error")
CellReader = Callable[[str], object]


def json_rows(requests: RequestSchema, body: bytes, max_rows: int) -> list[object]:
    """Return the rows of a JSON body: a list, or an object with `rows`.

    Raises:
        Problem: 422 when there are none, or too many.
    """
    body = utf8_json(body)
    _check_shape(requests, body, max_rows)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(ProblemCode.INVALID_JSON) from None
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        error = field_error("rows", FieldErrorCode.NOT_A_LIST)
        raise Problem(ProblemCode.MISSING_ROWS, errors=[error])
    _check_number(rows, max_rows)
    return rows


def _check_shape(requests: RequestSchema, body: bytes, max_rows: int) -> None:
    """Refuse a body with too many rows or fields, before a parser makes objects of it.

    A parsed object takes up to twenty times the memory of its text: sixteen megabytes of `{},` are
    five million objects. So rows are counted by their brackets, fields by their colons, and both by
    their commas. These may also stand in texts, so there is room for more of them.

    Raises:
        Problem: 422.
    """
    n_brackets = body.count(b"{") + body.count(b"[")
    if n_brackets > 2 * max_rows + SPARE_SIGNS:
        raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)
    max_fields = requests.max_fields
    max_signs = (n_brackets + 1) * max_fields + SPARE_SIGNS
    if body.count(b":") > max_signs:
        raise Problem(ProblemCode.TOO_MANY_FIELDS, max_fields=max_fields)
    if body.count(b",") > max_signs + max_rows:
        raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)


def csv_rows(requests: RequestSchema, body: bytes, max_rows: int) -> list[object]:
    """Return the rows of a CSV with a header, in the contract's types.

    An empty cell is a missing field; a cell that cannot be read stays text, to be refused.

    Raises:
        Problem: 422 when it is no CSV, names no field, or has too many rows.
    """
    rows: list[object] = []
    try:
        # Too many lines or fields are refused before a parser reads them.
        if body.count(b"\n") + body.count(b"\r") > 4 * max_rows + SPARE_SIGNS:
            raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)
        if any(len(line) > SMALL_BYTES for line in io.BytesIO(body)):
            reason = f"a line has more than {SMALL_BYTES} bytes"
            raise Problem(ProblemCode.INVALID_CSV, reason=reason)
        text = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8-sig", newline="")
        lines = csv.reader(text, strict=True)
        header = next(lines, [])
        _check_header(requests, header)
        readers = [(name, cell_reader(requests, name)) for name in header]
        filled_lines = filter(None, lines)
        for line in itertools.islice(filled_lines, max_rows + 1):
            row: dict[str, object] = {}
            for (name, read), cell in zip(readers, line, strict=False):
                if cell:
                    row[name] = read(cell)
            if len(line) > len(readers):
                row["extra"] = ""  # no field of any model, so the row is refused
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(ProblemCode.INVALID_CSV, reason=str(error)) from None
    _check_number(rows, max_rows)
    return rows


def cell_reader(requests: RequestSchema, name: str) -> CellReader:
    """Return the function from the cells of a column to values of the contract's type."""
    kind = requests.types.get(name, str)
    if kind is str:
        return str

    @cache
    def read(cell: str) -> object:
        if kind is bool:
            return BOOLEANS.get(cell.strip().lower(), cell)
        if not cell.isascii() or "_" in cell:  # Python reads 1_0 and digits of any script
            return cell
        try:
            return kind(cell)
        except ValueError:
            return cell

    return read


def _check_header(requests: RequestSchema, header: list[str]) -> None:
    """Refuse a header without a known field, as with other separators, or with one twice."""
    if requests.fields.isdisjoint(header):
        unknown = field_error("header", FieldErrorCode.NO_KNOWN_FIELD, allowed=requests.names)
        raise Problem(ProblemCode.UNKNOWN_HEADER, errors=[unknown])
    errors = []
    for name, n_columns in Counter(header).items():
        if n_columns > 1 and name in requests.fields:
            errors.append(field_error(name, FieldErrorCode.DUPLICATE_COLUMN))
    if errors:
        raise Problem(ProblemCode.DUPLICATE_COLUMNS, errors=errors)


def _check_number(rows: Sequence[object], max_rows: int) -> None:
    if len(rows) > max_rows:
        raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)


def to_csv(answer: BatchAnswer) -> str:
    """Return the scores and errors as CSV, a line per row.

    A name that the caller chose never begins a cell: a spreadsheet could run it.
    """
    errors: dict[int, list[str]] = {}
    for error in answer["errors"]:
        errors.setdefault(error["row"], []).append(f"`{error['field']}`: {error['detail']}")
    version = answer["model"]["version"]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    for row, stay in enumerate(answer["predictions"]):
        cells: tuple[object, ...] = (None, None, None)
        if stay is not None:
            cells = (stay["probability"], stay["risk"], stay["history"])
        writer.writerow((row, *cells, version, "; ".join(errors.get(row, []))))
    return file.getvalue()
