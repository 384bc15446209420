"""The API with the model of a folder (READMIT_BENCH_MODEL), without a database."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from bench.loop_watch import add_loop_watch
from readmit.inference.signatures import Statement
from serving.api_settings import ServingSettings
from serving.app import create_app
from serving.app_state import served
from serving.bundle_loader import Version, read_bundle

# No server listens there: the database is away, and answers must not wait for it.
PORT_WITHOUT_SERVER = 1024
# Predictions that wait for the database: as many as there are between two writes. Else what piles
# up without a database would be measured.
WAITING_PREDICTIONS = 3_000
SECONDS_TO_LOAD = 30


class ModelFolder:
    """A registry with one version: the folder of a logged model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_version(self, alias: str, /) -> Version | None:
        if alias != "production":
            return None
        return Version("readmission", "1", self._folder.name)

    def download(self, _: Version, folder: Path) -> None:
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)

    def check_decision(self, version: Version, /) -> Statement:
        """Return an empty statement: the folder is the bench's own."""
        return Statement(version.name, version.version, "bench", {})

    def check_files(self, version: Version, folder: Path, statement: Statement | None, /) -> None:
        """Accept every file: the folder is the bench's own."""

    def close(self) -> None:
        pass


def add_noop(app: FastAPI) -> None:
    """Add POST /noop, which reads and validates the same body and answers in the same shape."""

    @app.post("/noop")
    async def noop(request: Request) -> Response:
        model = served(request)
        model.requests.from_json(await request.body())
        answer = {
            "probability": 0.5,
            "risk": "high",
            "threshold": model.threshold,
            "capacity": {"calls_per_100": 10, "threshold": 0.25, "risk": "high"},
            "history": "assumed_first_stay",
            "request_id": request.state.request_id,
            "model": model.identity,
            "certainty": {
                "observed": {"figure": 0.5, "low": 0.4, "high": 0.6},
                "n_stays": 1_000,
                "is_unlike_training": False,
                "unusual_fields": (),
            },
        }
        return Response(orjson.dumps(answer), media_type="application/json")


def answer_with_a_model_only(app: FastAPI) -> None:
    """Let a worker take requests when it has its model: others may have theirs before.

    After a while it takes them without: /readyz says why there is none.
    """
    start = app.router.lifespan_context

    @asynccontextmanager
    async def start_with_model(app: FastAPI) -> AsyncIterator[Any]:
        async with start(app) as state:
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_TO_LOAD):
                    while app.state.parts.watcher.served is None:
                        await asyncio.sleep(0.05)
            yield state

    app.router.lifespan_context = start_with_model


def create() -> FastAPI:
    """Return the app; each worker process has a copy of its own. Nothing is logged or looked up."""
    settings = ServingSettings(
        readmit_home=Path(os.environ["READMIT_HOME"]) / str(os.getpid()),
        postgres_port=PORT_WITHOUT_SERVER,
        prediction_log_rows=WAITING_PREDICTIONS,
        serving_password=SecretStr("unused"),
        reader_password=SecretStr("unused"),
    )
    source = ModelFolder(Path(os.environ["READMIT_BENCH_MODEL"]))
    app = create_app(settings, source=source, read=read_bundle)
    add_noop(app)
    add_loop_watch(app)
    answer_with_a_model_only(app)
    return app
