"""POST /predict, /predict/batch, /explain and /compare."""

import asyncio
import csv
import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from serving import comparison
from serving.answers import Answering, answer, assume, complete, explain, one_patient
from serving.beside import loaded
from serving.bundle import Served
from serving.problems import Problem
from serving.schema import Asked
from serving.state import Model, parts, served
from serving.watcher import BESIDE

router = APIRouter(tags=["predict"])
JSON = "application/json"
CSV = "text/csv"
TOGETHER = 250  # rows of a batch at a time: what is made of them is gone before the next ones


@router.post("/predict", summary="Probability of readmission within 30 days")
async def predict(request: Request) -> Response:
    """Answer for one stay. Plain functions instead of dependencies: this is the hot path."""
    model, state = served(request), parts(request)
    asked = model.requests.from_json(await _json(request))
    row, history = await complete(model, asked, state.answering.lookup)
    probability = await state.answering.batcher.predict(model.compiled, row)
    said = answer(
        model, asked, row, probability, history=history, request_id=request.state.request_id, to=state.answering
    )
    return Response(orjson.dumps(said), media_type=JSON)


@router.post("/explain", summary="What moved the score of one stay")
async def explained(request: Request, model: Model) -> Response:
    """Contributions of the fields; they add up to the score in log-odds."""
    asked = model.requests.from_json(await _json(request))
    row, history = await complete(model, asked, parts(request).answering.lookup)
    said = await asyncio.to_thread(explain, model, row)
    probability = float(model.compiled.predict_one(row))
    extra = {"probability": probability, "history": history, "model": model.identity}
    return Response(orjson.dumps(said | extra | {"request_id": request.state.request_id}), media_type=JSON)


@router.post("/compare", summary="One stay as production and another version see it")
async def compare(request: Request, model: Model, alias: str = "previous") -> Response:
    """Answers of production and of the version with the alias, or why there is none; nothing is logged or counted."""
    if alias not in BESIDE:
        raise Problem(422, "no such alias", [{"field": "alias", "detail": "unknown", "allowed": list(BESIDE)}])
    state, request_id = parts(request), request.state.request_id
    asked = model.requests.from_json(await _json(request))
    other = await asyncio.to_thread(loaded, state.watcher.beside.get(alias))
    answers = await comparison.beside(
        model, other, asked, alias=alias, lookup=state.answering.lookup, request_id=request_id
    )
    return Response(orjson.dumps({"answers": answers, "request_id": request_id}), media_type=JSON)


@router.post("/predict/batch", summary="Many stays in one call, as JSON or CSV")
async def predict_batch(request: Request, model: Model) -> Response:
    """Answer each row or say what is wrong with it; history is taken as sent, never looked up.

    With `?trial=true` nothing is logged or counted: the rows are about nobody (examples, what-if). If they all have
    the same patient number, that patient's history is looked up, once.
    """
    state = parts(request)
    is_csv = request.headers.get("content-type", "").lower().startswith(CSV)
    body = await (request.body() if is_csv else _json(request))
    limit = state.settings.api_max_batch_rows
    rows = await asyncio.to_thread(_rows, body, is_csv, limit)
    is_trial, found = request.query_params.get("trial") == "true", None
    if is_trial:
        patient = one_patient(rows)
        if patient is not None and model.requests.history:
            found = await state.answering.lookup.find(patient, model.requests.history)
    said = await asyncio.to_thread(_score, model, rows, is_csv, None if is_trial else state.answering, found)
    said["request_id"] = request.state.request_id
    wants_csv = CSV in request.headers.get("accept", "") or (is_csv and JSON not in request.headers.get("accept", ""))
    if wants_csv:
        return Response(_as_csv(said), media_type=CSV)
    return Response(orjson.dumps(said), media_type=JSON)


async def _json(request: Request) -> bytes:
    """Return the body. Other media types are refused: pages elsewhere can make a browser send those unasked (CORS)."""
    kind = request.headers.get("content-type")
    if kind is not None and not kind.lower().startswith(JSON):
        raise Problem(415, f"send {JSON}; /predict/batch takes {CSV} too", headers={"Accept-Post": JSON})
    return await request.body()


def _rows(body: bytes, is_csv: bool, limit: int) -> list[Any]:
    rows = _csv_rows(body, limit) if is_csv else _json_rows(body)
    if len(rows) > limit:
        raise Problem(422, f"more than {limit} rows: the limit bounds time and memory of one call; send several")
    return rows


def _score(
    model: Served, rows: list[Any], is_csv: bool, to: Answering | None, found: Mapping[str, Any] | None
) -> dict[str, Any]:
    predictions: list[dict[str, Any] | None] = [None] * len(rows)
    errors: list[dict[str, Any]] = []
    for begin in range(0, len(rows), TOGETHER):
        some = enumerate(rows[begin : begin + TOGETHER], start=begin)
        good = list(_good(model, some, errors, is_csv, found))
        scores = model.compiled.predict_many([row for _, _, row, _ in good]) if good else []
        for (number, asked, row, history), score in zip(good, scores, strict=True):
            said = answer(model, asked, row, float(score), history=history, request_id=str(uuid.uuid4()), to=to)
            del said["model"]
            predictions[number] = said
    return {"predictions": predictions, "errors": errors, "model": model.identity}


def _good(
    model: Served,
    rows: Iterable[tuple[int, Any]],
    errors: list[dict[str, Any]],
    is_csv: bool,
    found: Mapping[str, Any] | None,
) -> Iterator[tuple[int, Asked, dict[str, Any], str]]:
    """Yield number, request, row and history of the rows that can be scored; what is wrong with others is added."""
    for number, row in rows:
        try:
            asked = model.requests.from_row(row, text=is_csv)
            yield number, asked, *assume(model, asked, found)
        except Problem as problem:
            wrong = problem.errors or [{"field": "row", "detail": problem.detail}]
            errors.extend({"row": number, "field": each["field"], "detail": each["detail"]} for each in wrong)


def _json_rows(body: bytes) -> list[Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(422, "the body is not JSON") from None
    rows = found.get("rows") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise Problem(422, 'send {"rows": [...]}', [{"field": "rows", "detail": "must be a list of objects"}])
    return rows


def _csv_rows(body: bytes, limit: int) -> list[Any]:
    """Return the rows of a CSV with a header; an empty cell is a missing field."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), restkey="extra", strict=True)
        return [_cells(row) for _, row in zip(range(limit + 1), reader, strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(422, f"the body is not CSV in UTF-8: {error}") from None


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else "" for name, value in row.items() if value not in ("", None)}


def _as_csv(said: dict[str, Any]) -> str:
    wrong: dict[int, list[str]] = {}
    for each in said["errors"]:
        wrong.setdefault(each["row"], []).append(f"{each['field']}: {each['detail']}")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("row", "probability", "risk", "history", "model_version", "error"))
    writer.writerows(_lines(said["predictions"], wrong, said["model"]["version"]))
    return out.getvalue()


def _lines(
    answers: list[dict[str, Any] | None], wrong: dict[int, list[str]], version: str
) -> Iterable[tuple[Any, ...]]:
    for number, each in enumerate(answers):
        found = each or {}
        values = (found.get("probability"), found.get("risk"), found.get("history"))
        yield (number, *values, version, "; ".join(wrong.get(number, [])))
