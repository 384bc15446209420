"""A version that stands by: its bundle is on disk, its model in memory only while it is used."""

import ctypes
import gc
import logging
import threading
import time
from pathlib import Path

from serving.bundle_loader import (
    BundleReader,
    ModelRefused,
    ModelUnavailable,
    ServedModel,
    Version,
    load,
)

log = logging.getLogger("serving")
IDLE_SECONDS = 300.0


class StandbyModel:
    """Loads on demand, once for all threads."""

    def __init__(self, version: Version, folder: Path, read: BundleReader) -> None:
        """Check the bundle by loading it.

        Raises:
            ModelRefused: it failed a check.
            ModelUnavailable: it cannot be loaded now.
        """
        self.version = version
        self._folder = folder
        self._read = read
        self._lock = threading.Lock()
        self._model: ServedModel | None = None
        self._used_at = 0.0
        load(folder, version, read)

    def model(self) -> ServedModel:
        """Return the model; loading it from disk takes a second.

        Raises:
            ModelRefused: its folder is damaged by now.
            ModelUnavailable: its folder is gone, or memory is short.
        """
        with self._lock:
            self._used_at = time.monotonic()
            if self._model is None:
                self._model = load(self._folder, self.version, self._read)
                release_memory()
            return self._model

    def release(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Drop the model from memory unless it was used lately."""
        with self._lock:
            is_used = time.monotonic() - self._used_at < idle_seconds
            if self._model is None or is_used:
                return
            self._model = None
        release_memory()


def loaded(standby: StandbyModel | None) -> ServedModel | None:
    """Return the model of a standby, or None when there is none or it cannot be loaded."""
    if standby is None:
        return None
    try:
        return standby.model()
    except (ModelRefused, ModelUnavailable) as refusal:
        log.warning("a standby version cannot be loaded: %s", refusal)
        return None


def release_memory() -> None:
    """Return the memory of the last model to the system, and freeze what is left.

    Reading a model frees as much as it keeps, and glibc holds on to that. Unfrozen, the models
    would be scanned by each full garbage collection: every 2,000 requests, for a tenth of a second.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
