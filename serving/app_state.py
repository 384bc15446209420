"""What the routes share, made once in the app factory."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serving.answers import PredictionServices
from serving.api_settings import ServingSettings
from serving.bundle_loader import ServedModel
from serving.draining import Draining
from serving.problems import Problem
from serving.watcher import Watcher


@dataclass(frozen=True)
class AppState:
    """Parts of one process."""

    settings: ServingSettings
    watcher: Watcher
    services: PredictionServices
    draining: Draining
    batches: (
        asyncio.Semaphore
    )  # one at a time: two are no faster on a core, and each takes up to 100 MB


def parts(request: Request) -> AppState:
    """Return the process's parts."""
    found: AppState = request.app.state.parts
    return found


def served(request: Request) -> ServedModel:
    """Return the model, the same for the whole request.

    Raises:
        Problem: 503 while there is none.
    """
    model = parts(request).watcher.served
    if model is None:
        raise Problem(
            503, "no model is loaded yet: /readyz says why", headers={"Retry-After": "10"}
        )
    return model


Parts = Annotated[AppState, Depends(parts)]
Model = Annotated[ServedModel, Depends(served)]
