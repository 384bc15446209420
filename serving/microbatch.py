"""Requests of the same moment are scored together: the model's code and tables come into the processor's caches once.

Nobody waits for others to come: whoever asks first has the batch scored as soon as the event loop has run the requests
that are ready already. With one request at a time a batch is one row.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from serving.bundle_loader import Compiled

Row = tuple[Any, ...]
Waiting = tuple[Compiled, Row, asyncio.Future[float]]


class MicroBatcher:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    async def predict(self, model: Compiled, row: Row) -> float:
        """Return the probability of one row; whatever the model raises for it is raised here."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[float] = loop.create_future()
        self._waiting.append((model, row, found))
        if len(self._waiting) == 1:
            loop.call_soon(self._score)
        return await found

    def _score(self) -> None:
        waiting, self._waiting = self._waiting, []
        for model in dict.fromkeys(
            model for model, _, _ in waiting
        ):  # two while a new version takes over
            _answer(model, [(row, found) for its, row, found in waiting if its is model])


def _answer(model: Compiled, asked: Sequence[tuple[Row, asyncio.Future[float]]]) -> None:
    try:
        scores = [float(p) for p in model.score([row for row, _ in asked])]
        answers = list(zip(asked, scores, strict=True))
    except Exception as error:
        if len(asked) > 1:  # one that cannot be scored is nobody else's fault
            for each in asked:
                _answer(model, [each])
        elif not asked[0][1].done():
            asked[0][1].set_exception(error)
        return
    for (_, found), score in answers:
        if not found.done():  # the caller may be gone
            found.set_result(score)
