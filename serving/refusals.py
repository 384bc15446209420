"""Versions that could not be loaded, and when each is tried again."""

import math
import time
from dataclasses import dataclass

from serving.bundle_loader import Version

FIRST_PAUSE_SECONDS = 10.0
MAX_PAUSE_SECONDS = 600.0


@dataclass(frozen=True)
class Refusal:
    """The last version of an alias that could not be loaded."""

    key: str
    pause_seconds: float
    retry_at: float  # of time.monotonic(); infinity: never


class Refusals:
    """Remembers one version per alias: another version is always tried."""

    def __init__(self) -> None:
        self._by_alias: dict[str, Refusal] = {}

    def is_blocked(self, alias: str, version: Version) -> bool:
        """Return whether a version must not be tried now."""
        refusal = self._by_alias.get(alias)
        if refusal is None or refusal.key != version.key:
            return False
        return time.monotonic() < refusal.retry_at

    def add_final(self, alias: str, version: Version) -> None:
        """Never try a version again: what is wrong with it stays wrong."""
        self._by_alias[alias] = Refusal(version.key, math.inf, math.inf)

    def postpone(self, alias: str, version: Version) -> float:
        """Try a version later; return in how many seconds, twice as many each time."""
        refusal = self._by_alias.get(alias)
        pause = FIRST_PAUSE_SECONDS
        if refusal is not None and refusal.key == version.key:
            pause = min(MAX_PAUSE_SECONDS, 2 * refusal.pause_seconds)
        self._by_alias[alias] = Refusal(version.key, pause, time.monotonic() + pause)
        return pause

    def clear(self, alias: str) -> None:
        """Forget the version: it, or another one, was loaded."""
        self._by_alias.pop(alias, None)
