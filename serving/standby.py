"""A version beside production: its bundle is on this disk, its model in memory only while somebody asks for it."""

import ctypes
import gc
import logging
import threading
import time
from pathlib import Path

from serving.bundle_loader import Loader, ModelRefused, ServedModel, Version, load

log = logging.getLogger("serving")
IDLE_SECONDS = 300.0


class StandbyModel:
    """Loads on demand, once for all threads. Made only of bundles that passed the checks."""

    def __init__(self, version: Version, folder: Path, read: Loader) -> None:
        """Check the bundle by loading it.

        Raises:
            ModelRefused: it failed a check.
        """
        self.version, self._folder, self._read = version, folder, read
        self._lock = threading.Lock()
        self._served: ServedModel | None = None
        self._used = 0.0
        load(folder, version, read)

    @property
    def identity(self) -> dict[str, str]:
        """Return how answers name the version."""
        return {
            "name": self.version.name,
            "version": self.version.version,
            "run_id": self.version.run_id,
        }

    def model(self) -> ServedModel:
        """Return the model; from disk, which takes a second, when nobody asked for a while.

        Raises:
            ModelRefused: its folder is gone or broken by now.
        """
        with self._lock:
            self._used = time.monotonic()
            if self._served is None:
                self._served = load(self._folder, self.version, self._read)
                release_memory()
            return self._served

    def release(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Forget the model unless somebody asked for it lately."""
        with self._lock:
            if self._served is None or time.monotonic() - self._used < idle_seconds:
                return
            self._served = None
        release_memory()


def loaded(other: StandbyModel | None) -> ServedModel | None:
    """Return the model of another version, or None when there is none or its files are gone."""
    try:
        return None if other is None else other.model()
    except ModelRefused as refusal:
        log.warning("a version beside production cannot be read any more: %s", refusal)
        return None


def release_memory() -> None:
    """Free what the last model left, and set what stays apart from what requests make.

    Reading a model frees as much as it keeps, and glibc holds on to that. What stays would be looked at by each full
    garbage collection: every 2,000 requests, while all others wait for a tenth of a second.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
