"""POST /predict, /predict/batch, /explain and /compare."""

import asyncio
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from readmit.client.access_keys import MOST_CALLS, Scope
from readmit.client.answer_types import (
    BatchAnswer,
    Comparison,
    Explanation,
    FieldErrorCode,
    History,
    Prediction,
    ProblemCode,
)
from serving import (
    answer_examples,
    batch_formats,
    batch_prediction,
    model_comparison,
    responses,
    uploads,
)
from serving.answers import (
    explain,
    record,
    scored_stay,
    with_known_history,
    without_history,
)
from serving.app_state import AppState, Model, Parts, parts, served
from serving.batch_prediction import BatchCall, TrialHistory
from serving.bundle_loader import ServedModel
from serving.history import UNAVAILABLE, HistoryUnavailable, Reader
from serving.problems import Problem, field_error, wrong_media_type
from serving.rate_limit import EXPLANATION_REQUESTS, ROWS_PER_REQUEST
from serving.schema import PredictionRequest
from serving.standby import loaded
from serving.uploads import Upload
from serving.watcher import STANDBY_ALIASES

router = APIRouter(tags=["predict"])
JSON = "application/json"
CSV = "text/csv"
Alias = Annotated[str, Query(json_schema_extra={"enum": [*STANDBY_ALIASES]})]
CALLS = "calls_per_100"
FLAGS = ("true", "false")
WHOLE_NUMBER = re.compile("-?[0-9]{1,9}")
# The header `Prefer: handling=strict`: no answer is better than one without the history.
STRICT = re.compile(r"(^|[,;\s])handling\s*=\s*\"?strict\"?\s*($|[,;])", re.IGNORECASE)


@router.post(
    "/predict",
    summary="Probability of readmission within 30 days",
    responses=responses.answer(Prediction, answer_examples.PREDICTION)
    | responses.refusals(responses.STAY),
)
async def predict(request: Request) -> Response:
    """Answer for one stay. Plain functions instead of dependencies: this is the hot path."""
    model = served(request)
    services = parts(request).services
    calls = _calls_per_100(request)
    stay = await _stay(request, model)
    probability = await services.batcher.predict(model.compiled, stay.values)
    score = scored_stay(model, stay, probability, request.state.request_id, calls)
    record(model, [(stay, score)], services, request.state.caller)
    prediction: Prediction = {
        **score,
        "model": model.identity,
        "certainty": model.certainty_of(probability, stay.values),
    }
    return Response(orjson.dumps(prediction), media_type=JSON)


@router.post(
    "/explain",
    summary="What moved the score of one stay",
    responses=responses.answer(Explanation, answer_examples.EXPLANATION)
    | responses.refusals(responses.STAY),
)
async def explained(request: Request, model: Model) -> Response:
    """Contributions of the fields; they add up to the score in log-odds.

    A history that was looked up is one sum without values, unless the key has the scope `history`.
    """
    stay = await _stay(request, model)
    _spend(request, EXPLANATION_REQUESTS)
    contributions = await asyncio.to_thread(explain, model, stay.values)
    if stay.history == "looked_up" and Scope.HISTORY not in request.state.caller.scopes:
        contributions = without_history(contributions, model.requests.history)
    (probability,) = model.compiled.score([stay.values])
    explanation: Explanation = {
        **contributions,
        "probability": float(probability),
        "history": stay.history,
        "model": model.identity,
        "request_id": request.state.request_id,
    }
    return Response(orjson.dumps(explanation), media_type=JSON)


@router.post(
    "/compare",
    summary="One stay as production and another version score it",
    responses=responses.answer(Comparison, answer_examples.COMPARISON)
    | responses.refusals(responses.COMPARED_STAY),
)
async def compare(
    request: Request, model: Model, state: Parts, alias: Alias = "previous"
) -> Response:
    """Answers of production and of the version with the alias, or why it has none.

    Nothing is logged or counted.
    """
    if alias not in STANDBY_ALIASES:
        error = field_error("alias", FieldErrorCode.NOT_ALLOWED, allowed=STANDBY_ALIASES)
        raise Problem(ProblemCode.UNKNOWN_ALIAS, errors=[error])
    stay = model.requests.from_json(await _json_body(request))
    answers = await model_comparison.compare(
        model,
        await asyncio.to_thread(loaded, state.watcher.standbys.get(alias)),
        stay,
        alias=alias,
        lookup=state.services.lookup,
        reader=_reader(request),
        calls_per_100=_calls_per_100(request),
    )
    for answer in answers:
        _check_history(request, answer.get("history"))
    comparison: Comparison = {"answers": answers, "request_id": request.state.request_id}
    return Response(orjson.dumps(comparison), media_type=JSON)


@router.post(
    "/predict/batch",
    summary="Many stays in one call, as JSON or CSV",
    responses=responses.answer(
        BatchAnswer, answer_examples.BATCH_ANSWER, csv=answer_examples.BATCH_CSV
    )
    | responses.refusals(responses.BATCH),
)
async def predict_batch(request: Request, model: Model, state: Parts) -> Response:
    """Answer each row or say what is wrong with it; history is taken as sent, never looked up.

    With `?trial=true` nothing is logged or counted: the rows are about nobody (examples, what-if).
    If they all have the same patient number, that patient's history is looked up, once. With
    `?certainty=true` each row says how sure it is, as the answer of /predict does.
    """
    upload = await uploads.read(request)
    async with state.batch_slot:
        with _without_collection():
            return await _batch_answer(request, model, state, upload)


async def _batch_answer(
    request: Request, model: ServedModel, state: AppState, upload: Upload
) -> Response:
    is_trial = _is_true(request, "trial")
    has_certainty = _is_true(request, "certainty")
    to_rows = batch_formats.csv_rows if upload.is_csv else batch_formats.json_rows
    max_rows = state.settings.api_max_batch_rows
    rows = await asyncio.to_thread(to_rows, model.requests, upload.body, max_rows)
    _spend(request, len(rows) / ROWS_PER_REQUEST)
    call = BatchCall(
        model,
        request.state.request_id,
        request.state.caller,
        _calls_per_100(request),
        history=await _trial_history(request, model, rows, state) if is_trial else None,
        services=None if is_trial else state.services,
        has_certainty=has_certainty,
    )
    # A caller that sent CSV gets CSV, unless it asks for JSON.
    accept = request.headers.get("accept", "")
    media_type = JSON
    if CSV in accept or (upload.is_csv and JSON not in accept):
        media_type = CSV
    content = await asyncio.to_thread(_scored_content, call, rows, media_type)
    return Response(content, media_type=media_type)


def _scored_content(call: BatchCall, rows: list[object], media_type: str) -> bytes:
    """Return the answer to a batch. What it is made of is freed here, not in the event loop."""
    answer = batch_prediction.score(call, rows)
    rows.clear()
    if media_type == CSV:
        return batch_formats.to_csv(answer, has_certainty=call.has_certainty).encode()
    return orjson.dumps(answer)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector out of a batch.

    It would go through all rows and errors again and again, for up to a tenth of a second, while
    nobody else is answered. They are freed without it when the answer is out.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _spend(request: Request, n_requests: float) -> None:
    """Count what a call costs beyond a request towards its caller's rate limit."""
    rate = parts(request).rate
    if rate.per_second:
        rate.spend(request.state.rate_key, n_requests)


async def _trial_history(
    request: Request, model: ServedModel, rows: list[object], state: AppState
) -> TrialHistory | None:
    """Return the history of the one patient that all rows of a trial are about.

    Raises:
        Problem: 503 when it cannot be read now and the caller wants no answer without it.
    """
    patient_nbr = batch_prediction.shared_patient(rows)
    if patient_nbr is None or not model.requests.history:
        return None
    try:
        return await state.services.lookup.find(
            patient_nbr, model.requests.history, _reader(request)
        )
    except HistoryUnavailable:
        _check_history(request, UNAVAILABLE)
        return UNAVAILABLE


async def _stay(request: Request, model: ServedModel) -> PredictionRequest:
    """Return the stay in the body, with the patient's history if it can be looked up.

    Raises:
        Problem: 503 when the history cannot be read now and the caller wants no answer without it.
    """
    sent = model.requests.from_json(await _json_body(request))
    if sent.patient_nbr is None:
        return sent
    lookup = parts(request).services.lookup
    stay = await with_known_history(model, sent, lookup, _reader(request))
    _check_history(request, stay.history)
    return stay


def _calls_per_100(request: Request) -> int:
    """Return how many of 100 patients the caller can call: by the request, else by its key.

    Raises:
        Problem: 422 when it is no whole number from 1 to MOST_CALLS.
    """
    usual: int = request.state.caller.calls_per_100
    if not request.scope["query_string"]:  # the hot path parses nothing
        return usual
    text = request.query_params.get(CALLS)
    if text is None:
        return usual
    if not WHOLE_NUMBER.fullmatch(text):
        error = field_error(CALLS, FieldErrorCode.NOT_AN_INTEGER)
    elif int(text) < 1:
        error = field_error(CALLS, FieldErrorCode.TOO_SMALL, params={"minimum": 1})
    elif int(text) > MOST_CALLS:
        error = field_error(CALLS, FieldErrorCode.TOO_LARGE, params={"maximum": MOST_CALLS})
    else:
        return int(text)
    raise Problem(ProblemCode.INVALID_FIELDS, errors=[error])


def _is_true(request: Request, name: str) -> bool:
    """Return whether a parameter of the query is `true`; without it, False.

    Raises:
        Problem: 422 for another word, which a caller may mean as true.
    """
    text = request.query_params.get(name, "false")
    if text not in FLAGS:
        error = field_error(name, FieldErrorCode.NOT_ALLOWED, allowed=FLAGS)
        raise Problem(ProblemCode.INVALID_FIELDS, errors=[error])
    return text == "true"


def _reader(request: Request) -> Reader:
    """Return who looks a history up."""
    return Reader(request.state.caller.name, request.state.request_id)


def _check_history(request: Request, history: History | None) -> None:
    """Refuse an answer without the history to a caller that prefers none (RFC 7240).

    Raises:
        Problem: 503.
    """
    if history == UNAVAILABLE and STRICT.search(",".join(request.headers.getlist("prefer"))):
        raise Problem(ProblemCode.HISTORY_UNAVAILABLE, headers={"Retry-After": "5"})


async def _json_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        Problem: 415 without the media type of JSON. A foreign web page can make a browser send
            other types, or none, without asking us first (CORS).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise wrong_media_type(request, (JSON,))
    return await request.body()
