"""GET /data/...: batches, quarantine, age of the data and what the monitor found, read-only."""

from fastapi import APIRouter, Response

from serving import queries
from serving.app_state import Parts

router = APIRouter(prefix="/data", tags=["data"])


@router.get("/batches", summary="The ledger of batches")
def batches(state: Parts) -> Response:
    """The newest first."""
    return queries.answer(
        state.settings, "batches", queries.BATCHES, database=state.settings.raw_database
    )


@router.get("/quarantine", summary="Rows in quarantine, with reasons")
def quarantine(state: Parts) -> Response:
    """At most 500 rows."""
    return queries.answer(state.settings, "rows", queries.QUARANTINE)


@router.get("/freshness", summary="Age of the newest published batch")
def freshness(state: Parts) -> Response:
    """Time of the last publishing, and seconds since."""
    return queries.answer(state.settings, "freshness", queries.FRESHNESS)


@router.get("/monitoring", summary="Drift of requests, and realised performance")
def monitoring(state: Parts) -> Response:
    """What the daily monitor found, the newest first."""
    return queries.answer(state.settings, "reports", queries.MONITORING)
