"""How long one piece of work keeps the event loop of the API, and so every other caller."""

import asyncio
import time

from fastapi import FastAPI, Request

PATH = "/longest-block"
STEP_SECONDS = 0.005


class LoopWatch:
    """Wakes every few milliseconds, and keeps the longest delay."""

    def __init__(self) -> None:
        self._longest_seconds = 0.0
        self._task: asyncio.Task[None] | None = None

    def take(self) -> float:
        """Return the longest block since the last call, in seconds; the first call begins.

        Time in which the process had no core is not counted: others use this machine too.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        longest = self._longest_seconds
        self._longest_seconds = 0.0
        return longest

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            cpu_began = time.process_time()
            await asyncio.sleep(STEP_SECONDS)
            delay = time.perf_counter() - began - STEP_SECONDS
            worked = time.process_time() - cpu_began
            self._longest_seconds = max(self._longest_seconds, min(delay, worked))


def add_loop_watch(app: FastAPI) -> None:
    """Add GET /longest-block, the longest block since its last call, in seconds."""
    watch = LoopWatch()

    @app.get(PATH)
    async def longest_block(_: Request) -> float:
        return watch.take()
