"""GET /model and what belongs to it."""

import orjson
from fastapi import APIRouter, Response

from readmit.client.answer_types import CodeTable, FieldErrorCode, ProblemCode
from serving import queries
from serving.app_state import Model, Parts
from serving.problems import Problem, field_error

router = APIRouter(prefix="/model", tags=["model"])


@router.get("", summary="The served model and its contract")
def model(served: Model) -> Response:
    """Name, version, run, metrics, threshold, and the contract without its code tables."""
    return Response(served.description, media_type="application/json")


@router.get("/seeds/{seed}", summary="A code table of the contract")
def seed(seed: str, served: Model) -> Response:
    """Rows with `code`, `description` and attributes."""
    seeds = served.contract.seeds
    if seed not in seeds:
        error = field_error("seed", FieldErrorCode.NOT_ALLOWED, allowed=sorted(seeds))
        raise Problem(ProblemCode.UNKNOWN_SEED, errors=[error])
    table: CodeTable = {"rows": [*seeds[seed]]}
    return Response(orjson.dumps(table), media_type="application/json")


@router.get("/history", summary="Decisions to promote, keep or roll back")
def history(state: Parts) -> Response:
    """The newest first."""
    return queries.answer(state.settings, "promotions", queries.PROMOTIONS)
