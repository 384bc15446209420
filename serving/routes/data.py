"""GET /data/...: batches, quarantine, age of the data and the monitor's reports, read-only."""

from fastapi import APIRouter, Response

from readmit.client.answer_types import Batches, Freshness, Monitoring, Quarantine
from serving import answer_examples, queries, responses
from serving.app_state import Parts

router = APIRouter(prefix="/data", tags=["data"])


@router.get(
    "/batches",
    summary="The ledger of batches",
    responses=responses.answer(Batches, answer_examples.BATCHES)
    | responses.refusals(responses.DATA),
)
def batches(state: Parts) -> Response:
    """The newest first."""
    database = state.settings.raw_database
    return queries.answer(state.settings, "batches", queries.BATCHES, database=database)


@router.get(
    "/quarantine",
    summary="Rows in quarantine, with reasons",
    responses=responses.answer(Quarantine, answer_examples.QUARANTINE)
    | responses.refusals(responses.DATA),
)
def quarantine(state: Parts) -> Response:
    """At most 500 rows."""
    return queries.answer(state.settings, "rows", queries.QUARANTINE)


@router.get(
    "/freshness",
    summary="Age of the newest published batch",
    responses=responses.answer(Freshness, answer_examples.FRESHNESS)
    | responses.refusals(responses.DATA),
)
def freshness(state: Parts) -> Response:
    """Time of the last publishing, and seconds since."""
    return queries.answer(state.settings, "freshness", queries.FRESHNESS)


@router.get(
    "/monitoring",
    summary="Drift of requests, and realised performance",
    responses=responses.answer(Monitoring, answer_examples.MONITORING)
    | responses.refusals(responses.DATA),
)
def monitoring(state: Parts) -> Response:
    """The reports of the daily monitor, the newest first."""
    return queries.answer(state.settings, "reports", queries.MONITORING)
