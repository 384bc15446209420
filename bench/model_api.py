"""The API with a model from a folder (READMIT_BENCH_MODEL), or with the tests' stand-in, for measurements."""

import os
import shutil
from pathlib import Path

import orjson
from fastapi import FastAPI, Request, Response

from serving.app import create_app
from serving.app_state import served
from serving.bundle_loader import Version, read_bundle
from tests.support.serving import FolderSource, read, settings


class ModelFolder:
    """A registry with one version: the folder of a logged model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_version(self, alias: str, /) -> Version | None:
        return Version("readmission", "1", self._folder.name) if alias == "production" else None

    def download(self, _: Version, folder: Path) -> None:
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)

    def close(self) -> None:
        pass


def with_noop(app: FastAPI) -> FastAPI:
    """Return the app with POST /noop: the same body read and validated, an answer of the same shape, nothing else."""

    @app.post("/noop")
    async def noop(request: Request) -> Response:
        model = served(request)
        model.requests.from_json(await request.body())
        said = {
            "probability": 0.5,
            "risk": "high",
            "threshold": model.threshold,
            "history": "assumed_first_stay",
        }
        said |= {"model": model.identity, "request_id": request.state.request_id}
        return Response(orjson.dumps(said), media_type="application/json")

    return app


def create() -> FastAPI:
    """Return the app; each worker process has a copy of its own. No database: nothing is logged or looked up."""
    home = Path(os.environ["READMIT_HOME"]) / str(os.getpid())
    if folder := os.environ.get("READMIT_BENCH_MODEL"):
        return with_noop(
            create_app(settings(home), source=ModelFolder(Path(folder)), read=read_bundle)
        )
    source = FolderSource()
    source.promote(1)
    return with_noop(create_app(settings(home), source=source, read=read))
