"""The API on a small model, for worker processes of uvicorn: `uvicorn
tests.support.metrics_app:create --factory`.
"""

import os
from pathlib import Path

from fastapi import FastAPI

from bench.loop_watch import add_loop_watch
from serving.app import create_app
from serving.bundle_loader import Version
from tests.support.serving import FolderSource, read, settings


class FileSource(FolderSource):
    """A registry that all workers share: a file for each alias holds the number of its version."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def find_version(self, alias: str) -> Version | None:
        if (self._home / "away").exists():
            raise ConnectionError("the registry is away")
        file = self._home / alias
        number = ""
        if file.exists():
            number = file.read_text()
        elif alias == "production":
            number = "1"
        if not number:
            return None
        self.promote(number, alias, shift=shift_of(number))
        return self.versions[alias]


def shift_of(number: str) -> float:
    """Return what makes the scores of a version its own."""
    return -1.0 - 0.1 * int(number)


def create() -> FastAPI:
    """Return the app; its state lies in the folder that METRICS_APP_HOME names."""
    home = Path(os.environ["METRICS_APP_HOME"])
    app = create_app(settings(home), source=FileSource(home), read=read)
    add_loop_watch(app)
    return app
