"""GET /livez, /readyz, /metrics."""

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from readmit.client.answer_types import Liveness, Readiness, ReadyModel
from serving import answer_examples, responses
from serving.app_state import Parts

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="The process answers",
    responses=responses.answer(Liveness, answer_examples.LIVENESS) | responses.refusals(()),
)
async def livez() -> Response:
    """Nothing else is checked: a restart would not help."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get(
    "/readyz",
    summary="A model is loaded and has predicted",
    responses=responses.answer(Readiness, answer_examples.READINESS)
    | responses.answer(Readiness, answer_examples.NOT_READY, status=503)
    | responses.refusals(()),
)
async def readyz(state: Parts) -> Response:
    """503 until then; the details say what is stale or away while answers continue."""
    watcher = state.watcher
    served = watcher.served
    model: ReadyModel | None = None
    if served is not None:
        contract_hash = served.contract.hash
        model = {**served.identity, "contract_hash": contract_hash, "from": watcher.origin}
    readiness: Readiness = {
        "status": "ready" if model else "not ready",
        "model": model,
        "beside": {
            alias: standby.version.identity for alias, standby in watcher.standbys.copy().items()
        },
        "registry": watcher.registry,
        "refused": watcher.refused,
        "prediction_log": {
            "waiting": state.services.log.waiting,
            "error": state.services.log.error,
        },
    }
    status = 200 if model else 503
    return Response(orjson.dumps(readiness), status, media_type="application/json")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses=responses.text(answer_examples.METRICS) | responses.refusals(()),
)
def metrics(state: Parts) -> Response:
    """Text exposition; all worker processes together when PROMETHEUS_MULTIPROC_DIR is set."""
    return Response(
        state.services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
