"""One stay as two versions see it: production, and the version that another alias names. Nothing is logged."""

from typing import Any

from serving.answers import answer, complete
from serving.bundle_loader import ServedModel
from serving.history import HistoryLookup
from serving.problems import Problem
from serving.schema import PredictionRequest

AWAY = "no other version has this alias, or it could not be loaded: only production answers"


async def beside(
    model: ServedModel,
    other: ServedModel | None,
    asked: PredictionRequest,
    *,
    alias: str,
    lookup: HistoryLookup,
    request_id: str,
) -> list[dict[str, Any]]:
    """Return production's answer, then the other version's or the reason why there is none."""
    first = await _answer(model, asked, lookup, request_id)
    return [
        {"alias": "production", **first},
        {"alias": alias, **await _other(model, other, asked, lookup, request_id)},
    ]


async def _other(
    model: ServedModel,
    other: ServedModel | None,
    asked: PredictionRequest,
    lookup: HistoryLookup,
    request_id: str,
) -> dict[str, Any]:
    if other is None:
        return {"model": None, "detail": AWAY}
    try:
        return await _answer(
            other, other.requests.translated(asked, model.requests), lookup, request_id
        )
    except Problem as problem:
        return {"model": other.identity, "detail": problem.detail, "errors": problem.errors}


async def _answer(
    served: ServedModel, asked: PredictionRequest, lookup: HistoryLookup, request_id: str
) -> dict[str, Any]:
    known = await complete(served, asked, lookup)
    (probability,) = served.compiled.score([known.values])
    return answer(served, known, float(probability), request_id) | {"model": served.identity}
