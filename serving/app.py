"""The app factory: `uvicorn serving.app:create_app --factory`."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from readmit import open_files
from readmit.telemetry.json_logs import log_as_json
from serving import documentation, problems
from serving.answers import PredictionServices
from serving.api_settings import ServingSettings
from serving.app_state import AppState
from serving.bundle_loader import BundleReader, read_bundle
from serving.draining import Draining
from serving.history import HistoryLookup
from serving.instruments import Metrics
from serving.microbatch import MicroBatcher
from serving.middleware import RequestMiddleware
from serving.model_registry import Registry
from serving.peer_bundles import Peers
from serving.prediction_log import PredictionLog
from serving.queries import DataQueries
from serving.rate_limit import RateLimit
from serving.routes import data, health, model, peers, predict, submit
from serving.shadow import Shadow
from serving.watcher import Source, Watcher

log = logging.getLogger(__name__)
# New objects before Python looks for garbage among them. Its default of 700 is what 16 requests
# hold while they are answered, all of it in use.
YOUNG_OBJECTS = 10_000
# How long a thread that scores a batch keeps Python from the event loop. By default it is 5 ms, for
# each of the steps that an answer takes meanwhile.
SWITCH_SECONDS = 0.0005


def create_app(
    settings: ServingSettings | None = None,
    *,
    source: Source | None = None,
    read: BundleReader = read_bundle,
) -> FastAPI:
    """Return the app. `source` and `read` replace the registry and the bundle reader.

    Raises:
        readmit.settings.BadSetting: a setting cannot be used; the message names the variable.
    """
    settings = settings or ServingSettings()
    state = _state(settings, source or Registry(settings), read)
    app = FastAPI(
        title="Readmission API",
        version="1",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.parts = state
    problems.install(app)
    for router in (
        predict.router,
        model.router,
        data.router,
        submit.router,
        health.router,
        peers.router,
    ):
        app.include_router(router)
    documentation.install(app)
    app.add_middleware(
        RequestMiddleware,
        settings=settings,
        metrics=state.services.metrics,
        draining=state.draining,
        rate=state.rate,
    )
    if settings.api_trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.api_trusted_proxies)
    return app


def _state(settings: ServingSettings, source: Source, read: BundleReader) -> AppState:
    metrics = Metrics()
    cache = settings.readmit_home / "models"
    poll_seconds = settings.registry_poll_seconds
    watcher = Watcher(source, cache, poll_seconds, metrics, read, peers=Peers(settings))
    services = PredictionServices(
        lookup=HistoryLookup(settings, metrics),
        log=PredictionLog(settings, metrics),
        shadow=Shadow(lambda: watcher.standbys.get("challenger"), metrics),
        metrics=metrics,
        batcher=MicroBatcher(),
    )
    return AppState(
        settings=settings,
        watcher=watcher,
        services=services,
        data=DataQueries(settings),
        rate=RateLimit(settings.api_rate_per_second),
        draining=Draining(),
        batch_slot=asyncio.Semaphore(1),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the parts; stop them in reverse order."""
    log_as_json("serving", "uvicorn")
    if too_low := open_files.raise_limit():
        log.warning(too_low)
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
    state: AppState = app.state.parts
    state.draining.listen()
    async with AsyncExitStack() as stack:
        state.services.log.start()
        stack.callback(state.services.log.stop)
        stack.callback(state.services.lookup.stop)
        stack.callback(state.data.stop)
        state.services.shadow.start()
        stack.callback(state.services.shadow.stop)
        state.watcher.start()
        stack.callback(state.watcher.stop)
        yield
