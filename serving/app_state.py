"""The parts of one process, made in the app factory and shared by the routes."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from readmit.client.answer_types import ProblemCode
from serving.answers import PredictionServices
from serving.api_settings import ServingSettings
from serving.bundle_loader import ServedModel
from serving.draining import Draining
from serving.problems import Problem
from serving.queries import DataQueries
from serving.rate_limit import RateLimit
from serving.watcher import Watcher


@dataclass(frozen=True)
class AppState:
    """Parts of one process.

    `batch_slot` lets one batch at a time be scored: two are no faster on a core, and each takes up
    to 100 MB.
    """

    settings: ServingSettings
    watcher: Watcher
    services: PredictionServices
    data: DataQueries
    rate: RateLimit
    draining: Draining
    batch_slot: asyncio.Semaphore


def parts(request: Request) -> AppState:
    """Return the process's parts."""
    state: AppState = request.app.state.parts
    return state


def served(request: Request) -> ServedModel:
    """Return the model, the same for the whole request.

    Raises:
        Problem: 503 while there is none.
    """
    model = parts(request).watcher.served
    if model is None:
        raise Problem(ProblemCode.NO_MODEL, headers={"Retry-After": "10"})
    return model


Parts = Annotated[AppState, Depends(parts)]
Model = Annotated[ServedModel, Depends(served)]
