"""GET /data/...: batches, inbox, quarantine, age of the data, the monitor's reports; read-only."""

from fastapi import APIRouter, Response

from readmit.client.answer_types import (
    Batches,
    Freshness,
    Inbox,
    Monitoring,
    Outcomes,
    Quarantine,
)
from serving import answer_examples, queries, responses
from serving.app_state import Parts

router = APIRouter(prefix="/data", tags=["data"])


@router.get(
    "/batches",
    summary="The ledger of batches",
    responses=responses.answer(Batches, answer_examples.BATCHES)
    | responses.refusals(responses.DATA),
)
async def batches(state: Parts) -> Response:
    """The newest first."""
    return await state.data.answer(queries.BATCHES)


@router.get(
    "/inbox",
    summary="Files of the inbox, with their results",
    responses=responses.answer(Inbox, answer_examples.INBOX) | responses.refusals(responses.DATA),
)
async def inbox(state: Parts) -> Response:
    """The newest first, at most 500. Each run renews the results."""
    return await state.data.answer(queries.INBOX)


@router.get(
    "/outcomes",
    summary="Published stays and readmissions of each batch",
    responses=responses.answer(Outcomes, answer_examples.OUTCOMES)
    | responses.refusals(responses.DATA),
)
async def outcomes(state: Parts) -> Response:
    """Batches without a published stay are left out."""
    return await state.data.answer(queries.OUTCOMES)


@router.get(
    "/quarantine",
    summary="Rows in quarantine, with reasons",
    responses=responses.answer(Quarantine, answer_examples.QUARANTINE)
    | responses.refusals(responses.DATA),
)
async def quarantine(state: Parts) -> Response:
    """At most 500 rows."""
    return await state.data.answer(queries.QUARANTINE)


@router.get(
    "/freshness",
    summary="Age of the newest published batch",
    responses=responses.answer(Freshness, answer_examples.FRESHNESS)
    | responses.refusals(responses.DATA),
)
async def freshness(state: Parts) -> Response:
    """Time of the last publishing, and seconds since."""
    return await state.data.answer(queries.FRESHNESS)


@router.get(
    "/monitoring",
    summary="Drift of requests, and realised performance",
    responses=responses.answer(Monitoring, answer_examples.MONITORING)
    | responses.refusals(responses.DATA),
)
async def monitoring(state: Parts) -> Response:
    """The reports of the daily monitor, the newest first."""
    return await state.data.answer(queries.MONITORING)
