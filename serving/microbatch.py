"""Requests of the same moment are scored together: model and tables enter the CPU caches once.

No request waits for others. The first one has the batch scored as soon as the event loop has run
the requests that are ready. With one request at a time, a batch is one row.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from readmit.client.answer_types import Value
from serving.bundle_loader import Compiled

Row = tuple[Value, ...]


class WaitingRow(NamedTuple):
    """A row to be scored, by which model, and the future of its probability."""

    model: Compiled
    row: Row
    probability: asyncio.Future[float]


class MicroBatcher:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: list[WaitingRow] = []

    async def predict(self, model: Compiled, row: Row) -> float:
        """Return the probability of one row; raises what the model raises for it."""
        loop = asyncio.get_running_loop()
        probability: asyncio.Future[float] = loop.create_future()
        self._waiting.append(WaitingRow(model, row, probability))
        if len(self._waiting) == 1:
            loop.call_soon(self._score)
        return await probability

    def _score(self) -> None:
        by_model: dict[Compiled, list[WaitingRow]] = {}  # two models while a new version takes over
        for waiting in self._waiting:
            by_model.setdefault(waiting.model, []).append(waiting)
        self._waiting = []
        for model, batch in by_model.items():
            _score_batch(model, batch)


def _score_batch(model: Compiled, batch: Sequence[WaitingRow]) -> None:
    """Score rows in one call; if it fails, each alone, so that one bad row fails no other."""
    try:
        rows = [waiting.row for waiting in batch]
        scores = [float(score) for score in model.score(rows)]
        if len(scores) != len(batch):
            raise ValueError(f"the model returned {len(scores)} scores for {len(batch)} rows")
    except Exception as error:
        if len(batch) > 1:
            for waiting in batch:
                _score_batch(model, [waiting])
        elif not batch[0].probability.done():
            batch[0].probability.set_exception(error)
        return
    for waiting, score in zip(batch, scores, strict=True):
        if not waiting.probability.done():  # its caller may have hung up
            waiting.probability.set_result(score)
