"""The API on a small model, for worker processes of uvicorn: `uvicorn tests.support.metrics_app:create --factory`."""

import os
from pathlib import Path

from fastapi import FastAPI

from serving.app import create_app
from tests.support.serving import FolderSource, read, settings


def create() -> FastAPI:
    """Return the app; its state lies in the folder that METRICS_APP_HOME names."""
    source = FolderSource()
    source.promote(1)
    return create_app(settings(Path(os.environ["METRICS_APP_HOME"])), source=source, read=read)
