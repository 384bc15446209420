"""Follows the registry: loads newly promoted versions, refuses bad ones, starts from the local
copy.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Protocol

import httpx
import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from readmit.client.answer_types import RefusedVersion, RegistryState
from readmit.inference.signatures import Statement
from serving.bundle_cache import BundleCache
from serving.bundle_loader import (
    BundleReader,
    ModelRefused,
    ServedModel,
    Version,
    load,
    read_bundle,
)
from serving.instruments import Metrics
from serving.promotion_record import NotBacked
from serving.standby import StandbyModel, release_memory

log = logging.getLogger("serving")
# `previous` is for comparisons, `challenger` for shadow scoring; at most one version each.
STANDBY_ALIASES = ("previous", "challenger")
CURRENT = "current"  # the pointer to production's version
UNREACHABLE = (httpx.HTTPError, BotoCoreError, ClientError, OSError, psycopg2.Error)


class Source(Protocol):
    """The part of a registry that the watcher uses."""

    def find_version(self, alias: str, /) -> Version | None:
        """Return the version that an alias names."""
        ...

    def check_decision(self, version: Version, /) -> Statement:
        """Return what was signed when the version was put in production."""
        ...

    def download(self, version: Version, folder: Path, /) -> None:
        """Write its bundle."""
        ...

    def check_files(self, version: Version, folder: Path, statement: Statement | None, /) -> None:
        """Raise ModelRefused unless the files are those that were signed."""
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
        self._cache = BundleCache(cache)
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
            self._metrics.record_process()
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
        if self._is_served(version):
            self._clear_refusal()
            self._metrics.gauge("readmit_model_unbacked").set(0)
            return
        if self.refused is not None and self.refused["version"] == version.key:
            return
        try:
            statement = self._source.check_decision(version)
            self._serve(version, self._fetch(version, statement), "registry")
        except NotBacked as refusal:
            # The last good model stays. The decision may still come: the version is not refused for
            # good.
            self._metrics.gauge("readmit_model_unbacked").set(1)
            log.error("the alias is not followed: %s", refusal)
        except ModelRefused as refusal:
            self.refused = {"version": version.key, "reason": str(refusal)[:500]}
            self._cache.remove(version)
            self._metrics.counter("readmit_model_refusals_total").inc()
            self._metrics.gauge("readmit_model_refused").set(1)
            log.error("version %s is refused: %s", version.version, refusal)

    def _check_standbys(self) -> None:
        """Follow the other aliases; one that names production's version stands for nothing."""
        for alias in STANDBY_ALIASES:
            standby = self.standbys.get(alias)
            if standby is not None:
                standby.release()
            version = self._source.find_version(alias)
            if version is None or self._is_served(version):
                self.standbys.pop(alias, None)
                self._cache.remove_pointer(alias)
                continue
            is_loaded = standby is not None and standby.version.key == version.key
            if not is_loaded and self._refused_standbys.get(alias) != version.key:
                self._add_standby(alias, version)

    def _is_served(self, version: Version) -> bool:
        return self.served is not None and self.served.version.key == version.key

    def _add_standby(self, alias: str, version: Version) -> None:
        try:
            self._hold(alias, version, self._fetch(version, None))
        except ModelRefused as refusal:
            self._refused_standbys[alias] = version.key
            self.standbys.pop(alias, None)
            log.warning(
                "version %s, alias %s, cannot stand by: %s", version.version, alias, refusal
            )
            return
        self._cache.set_pointer(alias, version)
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
        promoted_at = self._metrics.gauge("readmit_model_promoted_timestamp_seconds")
        promoted_at.set(version.promoted_timestamp)
        self._metrics.gauge("readmit_model_unbacked").set(0)
        self._clear_refusal()
        log.info("serving version %s from %s", version.version, origin)
        release_memory()
        if origin == "registry":
            self._cache.set_pointer(CURRENT, version)

    def _clear_refusal(self) -> None:
        self.refused = None
        self._metrics.gauge("readmit_model_refused").set(0)

    def _fetch(self, version: Version, statement: Statement | None) -> Path:
        """Return the folder of a version once its files are those that were signed.

        Args:
            version: the version.
            statement: what was signed; None takes the statement beside the files.

        Raises:
            ModelRefused: a file is missing, was not signed, or is another.
        """

        def download(version: Version, folder: Path) -> None:
            self._source.download(version, folder)
            self._source.check_files(version, folder, statement)

        folder = self._cache.folder(version)
        if folder.exists():
            try:
                self._source.check_files(version, folder, statement)
            except ModelRefused as refusal:
                log.warning("the local copy is fetched again: %s", refusal)
                self._cache.remove(version)
        loaded = [standby.version for standby in self.standbys.values()]
        if self.served is not None:
            loaded.append(self.served.version)
        return self._cache.fetch(version, download, loaded)

    def _start_from_copy(self) -> None:
        """Load the versions that the pointers on this disk name."""
        for name in (CURRENT, *STANDBY_ALIASES):
            version = self._cache.pointer(name)
            if version is None:
                continue
            folder = self._cache.folder(version)
            try:
                self._source.check_files(version, folder, None)
                if name == CURRENT:
                    self._serve(version, folder, "local copy")
                else:
                    self._hold(name, version, folder)
            except ModelRefused as refusal:
                log.warning("the local copy cannot be served: %s", refusal)

    def _set_registry_state(self, error: str | None) -> None:
        self.registry = {"up": error is None, "checked_at": time.time(), "error": error}
        self._metrics.gauge("readmit_registry_up").set(1 if error is None else 0)
