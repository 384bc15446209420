"""A batch without HTTP: from a body to rows, from rows to answers and errors, and these as CSV."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from serving.answers import PredictionServices, answer, note
from serving.bundle_loader import ServedModel
from serving.problems import Problem
from serving.schema import LARGEST, PredictionRequest, RequestSchema

MOST_ERRORS = 10_000  # then each wrong row has its first error only: 30 kB of empty rows made an answer of 29 MB
TOGETHER = 250  # rows at a time: what is made of them is gone before the next ones


@dataclass(frozen=True)
class Call:
    """One call: its model and id, the history of the one patient that a trial may be about, and who is told."""

    model: ServedModel
    request_id: str
    history: Mapping[str, Any] | None
    to: PredictionServices | None  # None: a trial, about nobody


def score(call: Call, rows: Sequence[object]) -> dict[str, Any]:
    """Return an answer or None for each row, what is wrong with the others, and what fields with errors allow."""
    predictions: list[dict[str, Any] | None] = []
    errors: list[dict[str, Any]] = []
    allowed: dict[str, list[Any]] = {}
    for begin in range(0, len(rows), TOGETHER):
        asked = call.model.requests.from_rows(rows[begin : begin + TOGETHER])
        predictions += _answers(call, asked, begin)
        for row, each in enumerate(asked, begin):
            if isinstance(each, Problem):
                errors += _errors(each, row)[: max(1, MOST_ERRORS - len(errors))]
                allowed |= {
                    wrong["field"]: wrong["allowed"] for wrong in each.errors if "allowed" in wrong
                }
    said = {"predictions": predictions, "errors": errors, "allowed": allowed}
    return said | {"model": call.model.identity, "request_id": call.request_id}


def _answers(
    call: Call, asked: Sequence[PredictionRequest | Problem], begin: int
) -> list[dict[str, Any] | None]:
    """Return the answers of some rows. An id is that of the call, with the row's number in its last place."""
    good = {
        row: _complete(call, each)
        for row, each in enumerate(asked, begin)
        if isinstance(each, PredictionRequest)
    }
    scores = call.model.compiled.score([each.values for each in good.values()]) if good else []
    found = {
        row: answer(call.model, each, float(p), f"{call.request_id[:24]}{row:012x}")
        for (row, each), p in zip(good.items(), scores, strict=True)
    }
    if call.to is not None:
        note(call.model, list(zip(good.values(), found.values(), strict=True)), call.to)
    return [found.get(row) for row in range(begin, begin + len(asked))]


def _complete(call: Call, asked: PredictionRequest) -> PredictionRequest:
    if call.history is None or asked.history == "given":
        return asked
    return call.model.requests.with_history(asked, call.history)


def _errors(problem: Problem, row: int) -> list[dict[str, Any]]:
    wrong = problem.errors or [{"field": "row", "detail": problem.detail}]
    return [{"row": row, "field": each["field"], "detail": each["detail"]} for each in wrong]


def one_patient(rows: Sequence[object]) -> int | None:
    """Return the patient number that all rows share, as those of a what-if do, or None."""
    number = rows[0].get("patient_nbr") if rows and isinstance(rows[0], dict) else None
    if type(number) is not int or not 0 <= number <= LARGEST:
        return None
    return (
        number
        if all(isinstance(row, dict) and row.get("patient_nbr") == number for row in rows)
        else None
    )


def json_rows(_: RequestSchema, body: bytes, limit: int) -> list[Any]:
    """Return the rows of a JSON body.

    Raises:
        Problem: 422 when there are none, or more than the limit.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(422, "the body is not JSON") from None
    rows = found.get("rows") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise Problem(
            422, 'send {"rows": [...]}', [{"field": "rows", "detail": "must be a list of objects"}]
        )
    return _at_most(limit, rows)


def csv_rows(requests: RequestSchema, body: bytes, limit: int) -> list[Any]:
    """Return the rows of a CSV with a header, in the contract's types; an empty cell is a missing field.

    Raises:
        Problem: 422 when it is no CSV, or has more rows than the limit.
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        columns = [(name, requests.reader(name)) for name in _header(requests, next(lines, []))]
        found = (_row(columns, line) for line in lines if line)
        return _at_most(limit, list(itertools.islice(found, limit + 1)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(422, f"the body is not CSV in UTF-8: {error}") from None


def _header(requests: RequestSchema, names: list[str]) -> list[str]:
    """Return the names; a Problem when none is known, as with other separators, or one would hide another's values."""
    if requests.fields.isdisjoint(names):
        wrong = {"field": "header", "detail": "names none of them", "allowed": list(requests.names)}
        raise Problem(
            422, "the first line must name fields of the model, separated by commas", [wrong]
        )
    twice = [name for name, n in Counter(names).items() if n > 1 and name in requests.fields]
    if twice:
        again = [{"field": name, "detail": "has more than one column"} for name in twice]
        raise Problem(422, "a field has more than one column", again)
    return names


def _row(
    columns: Sequence[tuple[str, Callable[[str], object]]], line: Sequence[str]
) -> dict[str, object]:
    row = {name: read(cell) for (name, read), cell in zip(columns, line, strict=False) if cell}
    return (
        row if len(line) <= len(columns) else row | {"extra": ""}
    )  # more cells than columns: no field of any model


def _at_most(limit: int, rows: list[Any]) -> list[Any]:
    if len(rows) > limit:
        raise Problem(
            422,
            f"more than {limit} rows: the limit bounds time and memory of one call; send several",
        )
    return rows


def as_csv(said: Mapping[str, Any]) -> str:
    """Return the answers and errors as CSV, a line per row. A name that the sender chose never begins a cell."""
    wrong: dict[int, list[str]] = {}
    for each in said["errors"]:
        wrong.setdefault(each["row"], []).append(f"`{each['field']}`: {each['detail']}")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("row", "probability", "risk", "history", "model_version", "error"))
    writer.writerows(_lines(said["predictions"], wrong, said["model"]["version"]))
    return out.getvalue()


def _lines(
    answers: Sequence[Mapping[str, Any] | None], wrong: Mapping[int, list[str]], version: str
) -> Iterable[tuple[Any, ...]]:
    for number, each in enumerate(answers):
        found = each or {}
        values = (found.get("probability"), found.get("risk"), found.get("history"))
        yield (number, *values, version, "; ".join(wrong.get(number, [])))
