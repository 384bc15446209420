"""GET /model and what belongs to it."""

import orjson
from fastapi import APIRouter, Response

from serving import queries
from serving.app_state import Model, Parts
from serving.problems import Problem

router = APIRouter(prefix="/model", tags=["model"])


@router.get("", summary="The served model and its contract")
def model(served: Model) -> Response:
    """Name, version, run, metrics, threshold, and the contract without its code tables."""
    return Response(served.described, media_type="application/json")


@router.get("/seeds/{seed}", summary="A code table of the contract")
def seed(seed: str, served: Model) -> Response:
    """Rows with `code`, `description` and attributes."""
    rows = served.contract.seeds.get(seed)
    if rows is None:
        allowed = sorted(served.contract.seeds)
        raise Problem(
            404, "no such code table", [{"field": "seed", "detail": "unknown", "allowed": allowed}]
        )
    return Response(orjson.dumps({"rows": list(rows)}), media_type="application/json")


@router.get("/history", summary="Decisions to promote, keep or roll back")
def history(state: Parts) -> Response:
    """The newest first."""
    return queries.answer(state.settings, "promotions", queries.PROMOTIONS)
