"""Follows the registry: loads newly promoted versions, refuses bad ones, starts from the local copy."""

import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Protocol

import httpx
import orjson
from botocore.exceptions import BotoCoreError, ClientError

from readmit.client.answer_types import RefusedVersion, RegistryState
from serving import bundle_cache
from serving.bundle_loader import (
    BundleReader,
    ModelRefused,
    ServedModel,
    Version,
    load,
    read_bundle,
)
from serving.instruments import Metrics
from serving.standby import StandbyModel, release_memory

log = logging.getLogger("serving")
# `previous` is for comparisons, `challenger` for shadow scoring; at most one version each.
STANDBY_ALIASES = ("previous", "challenger")
CURRENT = "current"  # the pointer to production's version
UNREACHABLE = (httpx.HTTPError, BotoCoreError, ClientError, OSError)


class Source(Protocol):
    """The part of a registry that the watcher uses."""

    def find_version(self, alias: str, /) -> Version | None:
        """Return the version that an alias names."""
        ...

    def download(self, version: Version, folder: Path, /) -> None:
        """Write its bundle."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Watcher:
    """Keeps `served` at the production model.

    A swap is one assignment: a request uses one model from start to end.
    """

    def __init__(
        self,
        source: Source,
        cache: Path,
        poll_seconds: float,
        metrics: Metrics,
        read: BundleReader = read_bundle,
    ) -> None:
        self.served: ServedModel | None = None
        self.origin = "none"  # of the served model: "registry" or "local copy"
        self.standbys: dict[str, StandbyModel] = {}  # by alias
        self.refused: RefusedVersion | None = None
        self.registry: RegistryState = {"up": False, "checked_at": None, "error": "not asked yet"}
        self._refused_standbys: dict[str, str] = {}  # the last refused version, by alias
        self._source = source
        self._cache = cache
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._read = read
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def start(self) -> None:
        """Serve the local copy at once, then follow the registry in the background."""
        self._start_from_copy()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        self._thread.join(timeout=15)
        self._source.close()

    def check(self) -> None:
        """Ask the registry once and load new versions; never raises for a fault outside."""
        try:
            self._check_production()
            self._check_standbys()
            self._set_registry_state(None)
        except UNREACHABLE as error:
            self._set_registry_state(f"{type(error).__name__}: {error}"[:300])

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.check()
            except Exception:
                log.exception("checking the registry failed")
                self._set_registry_state("unexpected failure, see the log")
            self._stop.wait(self._poll_seconds)

    def _check_production(self) -> None:
        version = self._source.find_version("production")
        if version is None:
            return
        key = _key(version)
        if self.served is not None and _key(self.served.version) == key:
            self._clear_refusal()
        elif self.refused is None or self.refused["version"] != key:
            try:
                self._serve(version, self._fetch(version), "registry")
            except ModelRefused as refusal:
                self._refuse(version, refusal)

    def _check_standbys(self) -> None:
        """Follow the other aliases; one that names production's version stands for nothing."""
        for alias in STANDBY_ALIASES:
            standby = self.standbys.get(alias)
            if standby is not None:
                standby.release()
            version = self._source.find_version(alias)
            if version is None or self._is_served(version):
                self.standbys.pop(alias, None)
                self._pointer(alias).unlink(missing_ok=True)
                continue
            is_loaded = standby is not None and _key(standby.version) == _key(version)
            if not is_loaded and self._refused_standbys.get(alias) != _key(version):
                self._add_standby(alias, version)

    def _is_served(self, version: Version) -> bool:
        return self.served is not None and _key(self.served.version) == _key(version)

    def _add_standby(self, alias: str, version: Version) -> None:
        try:
            self._hold(alias, version, self._fetch(version))
        except ModelRefused as refusal:
            self._refused_standbys[alias] = _key(version)
            self.standbys.pop(alias, None)
            log.warning(
                "version %s, alias %s, cannot stand by: %s", version.version, alias, refusal
            )
            return
        self._write_pointer(alias, version)
        log.info("version %s, alias %s, stands by", version.version, alias)

    def _hold(self, alias: str, version: Version, folder: Path) -> None:
        self.standbys[alias] = StandbyModel(version, folder, self._read)
        release_memory()

    def _serve(self, version: Version, folder: Path, origin: str) -> None:
        """Load a version and swap it in.

        Raises:
            ModelRefused: it failed a check.
        """
        model = load(folder, version, self._read)
        if self.served is not None:
            previous = self.served.version
            self._metrics.gauge("readmit_model", previous.version, previous.run_id).set(0)
            self._metrics.counter("readmit_model_swaps_total").inc()
        self.served = model
        self.origin = origin
        self._metrics.gauge("readmit_model", version.version, version.run_id).set(1)
        promoted_at = _timestamp(version.promoted_at)
        self._metrics.gauge("readmit_model_promoted_timestamp_seconds").set(promoted_at)
        self._clear_refusal()
        log.info("serving version %s from %s", version.version, origin)
        release_memory()
        if origin == "registry":
            self._write_pointer(CURRENT, version)

    def _clear_refusal(self) -> None:
        self.refused = None
        self._metrics.gauge("readmit_model_refused").set(0)

    def _refuse(self, version: Version, refusal: ModelRefused) -> None:
        self.refused = {"version": _key(version), "reason": str(refusal)[:500]}
        shutil.rmtree(self._cache / _key(version), ignore_errors=True)
        self._metrics.counter("readmit_model_refusals_total").inc()
        self._metrics.gauge("readmit_model_refused").set(1)
        log.error("version %s is refused: %s", version.version, refusal)

    def _fetch(self, version: Version) -> Path:
        """Return the folder of a version, which appears complete or not at all.

        Other workers may fetch the same version at the same time.
        """
        final = self._cache / _key(version)
        if final.exists():
            final.touch()  # it counts as new again
            return final
        self._cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=bundle_cache.PARTIAL, dir=self._cache))
        try:
            self._source.download(version, partial)
            partial.touch()
            partial.rename(final)
            bundle_cache.prune(self._cache, self._folders_in_use())
        except OSError:
            if not final.exists():  # else another worker was first
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def _folders_in_use(self) -> set[str]:
        """Return the folders of all versions that are loaded, stand by, or that pointers name."""
        versions = [standby.version for standby in self.standbys.values()]
        if self.served is not None:
            versions.append(self.served.version)
        for name in (CURRENT, *STANDBY_ALIASES):
            pointed = _read_pointer(self._pointer(name))
            if pointed is not None:
                versions.append(pointed)
        return {_key(version) for version in versions}

    def _start_from_copy(self) -> None:
        """Load the versions that the pointers on this disk name."""
        for name in (CURRENT, *STANDBY_ALIASES):
            version = _read_pointer(self._pointer(name))
            if version is None:
                continue
            folder = self._cache / _key(version)
            try:
                if name == CURRENT:
                    self._serve(version, folder, "local copy")
                else:
                    self._hold(name, version, folder)
            except ModelRefused as refusal:
                log.warning("the local copy cannot be served: %s", refusal)

    def _pointer(self, name: str) -> Path:
        return self._cache / f"{name}.json"

    def _write_pointer(self, name: str, version: Version) -> None:
        """Replace a pointer in one step: other workers read it."""
        handle, temporary = tempfile.mkstemp(dir=self._cache)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(asdict(version)))
        os.replace(temporary, self._pointer(name))

    def _set_registry_state(self, error: str | None) -> None:
        self.registry = {"up": error is None, "checked_at": time.time(), "error": error}
        self._metrics.gauge("readmit_registry_up").set(1 if error is None else 0)


def _key(version: Version) -> str:
    """Return the folder name of a version; odd characters of names and ids are left out."""
    parts = []
    for text in (version.name, version.version, version.run_id):
        parts.append("".join(c for c in text if c.isalnum() or c in "-_"))
    name, number, run_id = parts
    return f"{name}-{number}-{run_id[:12]}"


def _read_pointer(pointer: Path) -> Version | None:
    """Return the version that a pointer names, or None when it is missing or damaged."""
    if not pointer.exists():
        return None
    try:
        return Version(**orjson.loads(pointer.read_bytes()))
    except (OSError, TypeError, ValueError) as error:
        log.warning("%s cannot be read: %s", pointer, error)
        return None


def _timestamp(promoted_at: str | None) -> float:
    """Return a time in seconds since 1970; 0 when the registry gives none."""
    try:
        return datetime.fromisoformat(promoted_at or "").timestamp()
    except ValueError:
        return 0.0
