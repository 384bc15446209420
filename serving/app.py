"""The app factory: `uvicorn serving.app:create_app --factory`."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from readmit.telemetry.json_logs import log_as_json
from serving import documentation, problems
from serving.answers import PredictionServices
from serving.api_settings import ServingSettings
from serving.app_state import AppState
from serving.bundle_loader import Loader, from_project
from serving.draining import Draining
from serving.history import HistoryLookup
from serving.instruments import Metrics
from serving.microbatch import MicroBatcher
from serving.middleware import RequestMiddleware
from serving.model_registry import Registry
from serving.prediction_log import PredictionLog
from serving.routes import data, health, model, predict
from serving.shadow import Shadow
from serving.watcher import Source, Watcher

# New objects until Python looks for garbage among them; its own 700 is what 16 requests under way hold, all in use.
YOUNG = 10_000


def create_app(
    settings: ServingSettings | None = None,
    *,
    source: Source | None = None,
    read: Loader = from_project,
) -> FastAPI:
    """Return the app. `source` and `read` replace the registry and the bundle reader.

    Raises:
        readmit.settings.BadSetting: a setting cannot be used; the message names the variable.
    """
    known = settings or ServingSettings()
    parts = _parts(known, source, read)
    app = FastAPI(title="Readmission API", version="1", lifespan=_lifespan, docs_url=None, redoc_url=None,
                  openapi_url=None, redirect_slashes=False)  # fmt: skip
    app.state.parts = parts
    problems.install(app)
    for router in (predict.router, model.router, data.router, health.router):
        app.include_router(router)
    documentation.install(app)
    app.add_middleware(
        RequestMiddleware, settings=known, metrics=parts.services.metrics, draining=parts.draining
    )
    return app


def _parts(settings: ServingSettings, source: Source | None, read: Loader) -> AppState:
    metrics = Metrics()
    found, every = source or Registry(settings), settings.registry_poll_seconds
    watcher = Watcher(found, settings.readmit_home / "models", every, metrics, read)
    services = PredictionServices(
        lookup=HistoryLookup(settings, metrics),
        log=PredictionLog(settings, metrics),
        shadow=Shadow(lambda: watcher.standbys.get("challenger"), metrics),
        metrics=metrics,
        batcher=MicroBatcher(),
    )
    return AppState(settings, watcher, services, Draining(), asyncio.Semaphore(1))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the parts; stop them in reverse order."""
    log_as_json("serving", "uvicorn")
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    parts: AppState = app.state.parts
    parts.draining.listen()
    async with AsyncExitStack() as stack:
        parts.services.log.start()
        stack.callback(parts.services.log.stop)
        stack.callback(parts.services.lookup.stop)
        parts.services.shadow.start()
        stack.callback(parts.services.shadow.stop)
        parts.watcher.start()
        stack.callback(parts.watcher.stop)
        yield
