"""Bodies of batch calls as rows, and their answers as CSV."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

import orjson

from readmit.client.answer_types import BatchAnswer, FieldErrorCode, ProblemCode
from readmit.client.row_cells import table_rows
from readmit.contract.stay_columns import (
    ID_NAMES,
    CellReader,
    StayColumns,
    cell_reader,
    columns_of,
    known_keys,
)
from readmit.tables.delimiters import find_header
from readmit.tables.encodings import open_as_utf8
from readmit.tables.file_kinds import N_FIRST_BYTES, foreign_kind
from serving.body_limit import SMALL_BYTES
from serving.problems import Problem, field_error
from serving.schema import RequestSchema, utf8_json

SPARE_SIGNS = 1_000  # brackets, colons and line ends that may stand in texts
CSV_COLUMNS = ("row", "probability", "risk", "history", "model_version", "error", "capacity_risk")
CERTAINTY_COLUMNS = ("observed_rate", "observed_low", "observed_high", "is_unlike_training")


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
    first = rows[0] if rows else None
    if isinstance(first, dict):
        columns = columns_of(list(first), requests.features)
        if columns.is_source:
            return _from_source(requests, rows)
    return rows


def _from_source(requests: RequestSchema, rows: Sequence[object]) -> list[object]:
    """Return rows in the layout of the source in the contract's names and types.

    Values are read as the same values in a CSV would be.
    """
    readers: dict[str, tuple[str | None, CellReader]] = {}
    typed_rows: list[object] = []
    for row in rows:
        if not isinstance(row, dict):
            typed_rows.append(row)
            continue
        new_names = [name for name in row if name not in readers]
        if new_names:
            columns = columns_of([*readers, *new_names], requests.features)
            for name, field in zip([*readers, *new_names], columns.names, strict=True):
                readers[name] = (field, _cell_reader(requests, field, columns))
        typed_row: dict[str, object] = {}
        for name, value in row.items():
            field, read = readers[name]
            if field and value is not None:
                typed_row[field] = (
                    value if isinstance(value, bool | dict | list) else read(str(value))
                )
        typed_rows.append(typed_row)
    return typed_rows


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

    The header has the contract's names or those of the source file; it shows the delimiter. An
    empty cell is a missing field; a cell that cannot be read stays text, to be refused. In the
    place of a row with too many, too few or only empty cells stands its problem.

    Raises:
        Problem: 422 when it is no CSV, names no field, or has too many rows.
    """
    rows: list[object] = []
    try:
        lines = _csv_lines(requests, body, max_rows)
        header = next(lines, [])
        columns = columns_of(header, requests.features)
        _check_header(requests, columns)
        readers = [(name, _cell_reader(requests, name, columns)) for name in columns.names]
        table = table_rows(enumerate(lines), len(header), max_rows)
        for _, cells, error in itertools.islice(table, max_rows + 1):
            if error is not None:
                rows.append(Problem(ProblemCode.INVALID_FIELDS, errors=[error]))
                continue
            row: dict[str, object] = {}
            for (name, read), cell in zip(readers, cells, strict=True):
                if cell and name is not None:
                    row[name] = read(cell)
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(ProblemCode.INVALID_CSV, reason=str(error)) from None
    _check_number(rows, max_rows)
    return rows


def _csv_lines(requests: RequestSchema, body: bytes, max_rows: int) -> Iterator[list[str]]:
    """Return the lines of a CSV in any dialect, from its header.

    Raises:
        Problem: 422 when it is another kind of file, or has too many lines or fields to be read.
        UnicodeDecodeError: it is not in the encoding that its first bytes show.
    """
    file, _ = open_as_utf8(io.BytesIO(body))
    first_bytes = file.peek(N_FIRST_BYTES)[:N_FIRST_BYTES]
    kind = foreign_kind(first_bytes)
    if kind and not first_bytes.startswith((b"{", b"[")):  # of JSON the header is refused
        reason = f"this is {kind.title}; send the table as CSV"
        raise Problem(ProblemCode.INVALID_CSV, reason=reason)
    body = file.read()
    if b"\n" not in body:
        body = body.replace(b"\r", b"\n")  # lines of an old Mac
    # Too many lines or fields are refused before a parser reads them.
    if body.count(b"\n") + body.count(b"\r") > 4 * max_rows + SPARE_SIGNS:
        raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)
    if any(len(line) > SMALL_BYTES for line in io.BytesIO(body)):
        reason = f"a line has more than {SMALL_BYTES} bytes"
        raise Problem(ProblemCode.INVALID_CSV, reason=reason)
    delimiter, header_line = find_header(io.BytesIO(body), known_keys(requests.features))
    text = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="")
    lines = csv.reader(text, delimiter=delimiter, strict=True)
    for _ in range(header_line - 1):
        next(lines)
    return lines


def _cell_reader(requests: RequestSchema, name: str | None, columns: StayColumns) -> CellReader:
    feature = requests.features_by_name.get(name or "")
    return cell_reader(feature, is_id=name in ID_NAMES, is_source=columns.is_source)


def _check_header(requests: RequestSchema, columns: StayColumns) -> None:
    """Refuse a header without a known field, as with other separators, or with one twice."""
    if requests.fields.isdisjoint(columns.names):
        unknown = field_error("header", FieldErrorCode.NO_KNOWN_FIELD, allowed=requests.names)
        raise Problem(ProblemCode.UNKNOWN_HEADER, errors=[unknown])
    if len(list(filter(None, columns.names))) > requests.max_fields:
        raise Problem(ProblemCode.TOO_MANY_FIELDS, max_fields=requests.max_fields)
    errors = []
    for name in columns.repeated:
        if name in requests.fields:
            errors.append(field_error(name, FieldErrorCode.DUPLICATE_COLUMN))
    if errors:
        raise Problem(ProblemCode.DUPLICATE_COLUMNS, errors=errors)


def _check_number(rows: Sequence[object], max_rows: int) -> None:
    if len(rows) > max_rows:
        raise Problem(ProblemCode.TOO_MANY_ROWS, max_rows=max_rows)


def to_csv(answer: BatchAnswer, *, has_certainty: bool = False) -> str:
    """Return the scores and errors as CSV, a line per row; with certainty it has more columns.

    A name that the caller chose never begins a cell: a spreadsheet could run it.
    """
    errors: dict[int, list[str]] = {}
    for error in answer["errors"]:
        errors.setdefault(error["row"], []).append(f"`{error['field']}`: {error['detail']}")
    version = answer["model"]["version"]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow((*CSV_COLUMNS, *CERTAINTY_COLUMNS) if has_certainty else CSV_COLUMNS)
    for row, stay in enumerate(answer["predictions"]):
        cells: tuple[object, ...] = (None, None, None)
        capacity_risk = None
        certainty = None
        if stay is not None:
            certainty = stay.get("certainty")
            cells = (stay["probability"], stay["risk"], stay["history"])
            if stay["capacity"] is not None:
                capacity_risk = stay["capacity"]["risk"]
        row_errors = "; ".join(errors.get(row, []))
        line: list[object] = [row, *cells, version, row_errors, capacity_risk]
        if certainty is not None:
            rate = certainty["observed"]
            is_unlike = "true" if certainty["is_unlike_training"] else "false"
            line += [rate["figure"], rate["low"], rate["high"], is_unlike]
        elif has_certainty:
            line += [None] * len(CERTAINTY_COLUMNS)
        writer.writerow(line)
    return file.getvalue()
