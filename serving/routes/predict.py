"""POST /predict, /predict/batch, /explain and /compare."""

import asyncio

import orjson
from fastapi import APIRouter, Request, Response

from serving import batch_prediction, model_comparison
from serving.answers import answer, complete, explain, note
from serving.app_state import Model, parts, served
from serving.problems import Problem
from serving.standby import loaded
from serving.watcher import STANDBY_ALIASES

router = APIRouter(tags=["predict"])
JSON = "application/json"
CSV = "text/csv"


@router.post("/predict", summary="Probability of readmission within 30 days")
async def predict(request: Request) -> Response:
    """Answer for one stay. Plain functions instead of dependencies: this is the hot path."""
    model, state = served(request), parts(request)
    asked = await complete(
        model, model.requests.from_json(await _json(request)), state.services.lookup
    )
    probability = await state.services.batcher.predict(model.compiled, asked.values)
    said = answer(model, asked, probability, request.state.request_id)
    note(model, [(asked, said)], state.services)
    return Response(orjson.dumps(said | {"model": model.identity}), media_type=JSON)


@router.post("/explain", summary="What moved the score of one stay")
async def explained(request: Request, model: Model) -> Response:
    """Contributions of the fields; they add up to the score in log-odds."""
    lookup = parts(request).services.lookup
    asked = await complete(model, model.requests.from_json(await _json(request)), lookup)
    said = await asyncio.to_thread(explain, model, asked.values)
    (probability,) = model.compiled.score([asked.values])
    extra = {"probability": float(probability), "history": asked.history, "model": model.identity}
    return Response(
        orjson.dumps(said | extra | {"request_id": request.state.request_id}), media_type=JSON
    )


@router.post("/compare", summary="One stay as production and another version see it")
async def compare(request: Request, model: Model, alias: str = "previous") -> Response:
    """Answers of production and of the version with the alias, or why there is none; nothing is logged or counted."""
    if alias not in STANDBY_ALIASES:
        raise Problem(
            422,
            "no such alias",
            [{"field": "alias", "detail": "unknown", "allowed": list(STANDBY_ALIASES)}],
        )
    state, request_id = parts(request), request.state.request_id
    asked = model.requests.from_json(await _json(request))
    other = await asyncio.to_thread(loaded, state.watcher.standbys.get(alias))
    answers = await model_comparison.beside(
        model, other, asked, alias=alias, lookup=state.services.lookup, request_id=request_id
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
    read, limit = (
        batch_prediction.csv_rows if is_csv else batch_prediction.json_rows,
        state.settings.api_max_batch_rows,
    )
    is_trial, found = request.query_params.get("trial") == "true", None
    async with state.batches:
        rows = await asyncio.to_thread(read, model.requests, body, limit)
        if (
            is_trial
            and model.requests.history
            and (patient := batch_prediction.one_patient(rows)) is not None
        ):
            found = await state.services.lookup.find(patient, model.requests.history)
        call = batch_prediction.Call(
            model, request.state.request_id, found, None if is_trial else state.services
        )
        said = await asyncio.to_thread(batch_prediction.score, call, rows)
    wants_csv = CSV in request.headers.get("accept", "") or (
        is_csv and JSON not in request.headers.get("accept", "")
    )
    if wants_csv:
        return Response(await asyncio.to_thread(batch_prediction.as_csv, said), media_type=CSV)
    return Response(orjson.dumps(said), media_type=JSON)


async def _json(request: Request) -> bytes:
    """Return the body. Other media types are refused: pages elsewhere can make a browser send those unasked (CORS)."""
    kind = request.headers.get("content-type")
    if kind is not None and not kind.lower().startswith(JSON):
        raise Problem(
            415, f"send {JSON}; /predict/batch takes {CSV} too", headers={"Accept-Post": JSON}
        )
    return await request.body()
