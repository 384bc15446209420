"""GET /model and what belongs to it."""

import orjson
from fastapi import APIRouter, Response

from readmit.client.answer_types import (
    CodeTable,
    FieldErrorCode,
    ModelInfo,
    ProblemCode,
    PromotionHistory,
)
from serving import answer_examples, queries, responses
from serving.app_state import Model, Parts
from serving.problems import Problem, field_error

router = APIRouter(prefix="/model", tags=["model"])


@router.get(
    "",
    summary="The served model and its contract",
    responses=responses.answer(ModelInfo, answer_examples.MODEL_INFO)
    | responses.refusals(responses.SERVED_MODEL),
)
def model(served: Model) -> Response:
    """Name, version, run, metrics, threshold, and the contract without its code tables."""
    return Response(served.description, media_type="application/json")


@router.get(
    "/seeds/{seed}",
    summary="A code table of the contract",
    responses=responses.answer(CodeTable, answer_examples.CODE_TABLE)
    | responses.refusals(responses.CODE_TABLE),
)
def seed(seed: str, served: Model) -> Response:
    """Rows with `code`, `description` and attributes."""
    seeds = served.contract.seeds
    if seed not in seeds:
        error = field_error("seed", FieldErrorCode.NOT_ALLOWED, allowed=sorted(seeds))
        raise Problem(ProblemCode.UNKNOWN_SEED, errors=[error])
    table: CodeTable = {"rows": [*seeds[seed]]}
    return Response(orjson.dumps(table), media_type="application/json")


@router.get(
    "/history",
    summary="Decisions to promote, keep or roll back",
    responses=responses.answer(PromotionHistory, answer_examples.PROMOTION_HISTORY)
    | responses.refusals(responses.DATABASE),
)
async def history(state: Parts) -> Response:
    """The newest first."""
    return await state.data.answer(queries.PROMOTIONS)
