"""GET /livez, /readyz, /metrics."""

import orjson
from fastapi import APIRouter, Response

from serving.app_state import Parts

router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process answers")
async def livez() -> Response:
    """Nothing else is looked at: a restart would not help."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get("/readyz", summary="A model is loaded and has predicted")
async def readyz(state: Parts) -> Response:
    """503 until then; the details say what is stale or away while answers continue."""
    watcher, model = state.watcher, state.watcher.served
    said = {
        "status": "ready" if model else "not ready",
        "model": model.identity | {"contract_hash": model.contract.hash, "from": watcher.origin}
        if model
        else None,
        "beside": {alias: found.identity for alias, found in watcher.standbys.copy().items()},
        "registry": watcher.registry,
        "refused": watcher.refused or None,
        "prediction_log": {
            "waiting": state.services.log.waiting,
            "error": state.services.log.error,
        },
    }
    return Response(orjson.dumps(said), 200 if model else 503, media_type="application/json")


@router.get("/metrics", summary="Metrics for Prometheus")
def metrics(state: Parts) -> Response:
    """Text exposition; all worker processes together when PROMETHEUS_MULTIPROC_DIR is set."""
    return Response(
        state.services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
