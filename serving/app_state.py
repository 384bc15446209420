"""What the routes share, made once in the app factory."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from serving.answers import Answering
from serving.api_settings import ServingSettings
from serving.bundle_loader import Served
from serving.draining import Draining
from serving.problems import Problem
from serving.watcher import Watcher


@dataclass(frozen=True)
class State:
    """Parts of one process."""

    settings: ServingSettings
    watcher: Watcher
    answering: Answering
    draining: Draining
    batches: (
        asyncio.Semaphore
    )  # one at a time: two are no faster on a core, and each takes up to 100 MB


def parts(request: Request) -> State:
    """Return the process's parts."""
    found: State = request.app.state.parts
    return found


def served(request: Request) -> Served:
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


Parts = Annotated[State, Depends(parts)]
Model = Annotated[Served, Depends(served)]
