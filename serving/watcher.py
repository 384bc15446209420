"""Follows the registry: loads promoted versions, refuses bad ones, starts from the local copy."""

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
from serving import peer_bundles
from serving.bundle_cache import BundleCache, Download
from serving.bundle_loader import (
    BundleReader,
    ModelRefused,
    ModelUnavailable,
    ServedModel,
    Version,
    load,
    read_bundle,
    with_learning_curve,
)
from serving.instruments import Metrics
from serving.peer_bundles import Peers
from serving.promotion_record import NotBacked
from serving.refusals import Refusals
from serving.standby import StandbyModel, release_memory

log = logging.getLogger("serving")
# `previous` is for comparisons, `challenger` for shadow scoring; at most one version each.
STANDBY_ALIASES = ("previous", "challenger")
PRODUCTION = "production"
CURRENT = "current"  # the pointer to production's version
MODELLESS_SECONDS = 3.0  # until the first model is served, somebody waits for it
STOP_SECONDS = 2.0  # a download that is under way is abandoned
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
        *,
        peers: Peers | None = None,
    ) -> None:
        self.served: ServedModel | None = None
        self.origin = "none"  # of the served model: "registry", "local copy" or "peer"
        self.standbys: dict[str, StandbyModel] = {}  # by alias
        self.refused: RefusedVersion | None = None
        self.registry: RegistryState = {"up": False, "checked_at": None, "error": "not asked yet"}
        self._refusals = Refusals()
        self._source = source
        self._cache = BundleCache(cache)
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._read = read
        self._peers = peers
        self._checking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def start(self) -> None:
        """Serve the local copy at once, then follow the registry in the background."""
        self._start_from_copy()
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        self._source.close()

    def check(self) -> None:
        """Ask the registry once and load new versions; never raises for a fault outside.

        Two checks at the same time would load a version twice, so the second one waits.
        """
        with self._checking:
            try:
                self._check_production()
                self._check_standbys()
                self._set_registry_state(None)
            except UNREACHABLE as error:
                self._set_registry_state(f"{type(error).__name__}: {error}"[:300])

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._metrics.record_process()
                self.check()
                if self.served is None:
                    self._start_from_copy()  # what was short at the start may have come back
                if self.served is None:
                    self._start_from_peer()
            except Exception:
                log.exception("checking the registry failed")
                self._set_registry_state("unexpected failure, see the log")
            pause = self._poll_seconds
            if self.served is None:
                pause = min(pause, MODELLESS_SECONDS)
            self._stop.wait(pause)

    def _check_production(self) -> None:
        version = self._source.find_version(PRODUCTION)
        if version is None:
            return
        if self.served is not None and self._is_served(version):
            if version.learning_curve != self.served.version.learning_curve:
                self.served = with_learning_curve(self.served, version)
            self._clear_refusal()
            self._metrics.gauge("readmit_model_unbacked").set(0)
            return
        if self._refusals.is_blocked(PRODUCTION, version):
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
            self._refusals.add_final(PRODUCTION, version)
            self._set_refused(version, str(refusal))
        except ModelUnavailable as fault:
            pause = self._refusals.postpone(PRODUCTION, version)
            self._set_refused(version, f"{fault} (tried again in {pause:.0f} s)")

    def _set_refused(self, version: Version, reason: str) -> None:
        if self.refused is None or self.refused["version"] != version.key:
            self._metrics.counter("readmit_model_refusals_total").inc()
        self.refused = {"version": version.key, "reason": reason[:500]}
        self._metrics.gauge("readmit_model_refused").set(1)
        log.error("version %s is refused: %s", version.version, reason)

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
            if not is_loaded and not self._refusals.is_blocked(alias, version):
                self._add_standby(alias, version)

    def _is_served(self, version: Version) -> bool:
        return self.served is not None and self.served.version.key == version.key

    def _add_standby(self, alias: str, version: Version) -> None:
        try:
            self._hold(alias, version, self._fetch(version, None))
        except (ModelRefused, ModelUnavailable) as refusal:
            if isinstance(refusal, ModelRefused):
                self._refusals.add_final(alias, version)
            else:
                self._refusals.postpone(alias, version)
            self.standbys.pop(alias, None)
            log.warning(
                "version %s, alias %s, cannot stand by: %s", version.version, alias, refusal
            )
            return
        self._refusals.clear(alias)
        self._cache.set_pointer(alias, version)
        log.info("version %s, alias %s, stands by", version.version, alias)

    def _hold(self, alias: str, version: Version, folder: Path) -> None:
        self.standbys[alias] = StandbyModel(version, folder, self._read)
        release_memory()

    def _serve(self, version: Version, folder: Path, origin: str) -> None:
        """Load a version and swap it in.

        Raises:
            ModelRefused: it failed a check.
            ModelUnavailable: it cannot be loaded now.
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
        if origin != "local copy":
            self._cache.set_pointer(CURRENT, version)

    def _clear_refusal(self) -> None:
        self.refused = None
        self._refusals.clear(PRODUCTION)
        self._metrics.gauge("readmit_model_refused").set(0)

    def _fetch(
        self, version: Version, statement: Statement | None, fetch_files: Download | None = None
    ) -> Path:
        """Return the folder of a version once its files are those that were signed.

        Args:
            version: the version.
            statement: what was signed; None takes the statement beside the files.
            fetch_files: writes the files; None takes them from the registry's store.

        Raises:
            ModelRefused: a file is missing, was not signed, or is another.
        """

        def download(version: Version, folder: Path) -> None:
            (fetch_files or self._source.download)(version, folder)
            self._source.check_files(version, folder, statement)

        folder = self._cache.folder(version)
        if folder.exists():
            try:
                self._source.check_files(version, folder, statement)
            except ModelRefused as refusal:
                log.warning("the local copy is fetched again: %s", refusal)
                self._cache.set_aside(version)
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
            except (ModelRefused, ModelUnavailable) as refusal:
                log.warning("the local copy cannot be served: %s", refusal)

    def _start_from_peer(self) -> None:
        """Load the model that another process serves: registry or store are away."""
        archive = self._peers.bundle() if self._peers is not None else None
        if archive is None:
            return
        try:
            version = peer_bundles.version_of(archive)
            folder = self._fetch(
                version, None, lambda _, folder: peer_bundles.unpack(archive, folder)
            )
            self._serve(version, folder, "peer")
        except (ModelRefused, ModelUnavailable) as refusal:
            log.warning("the model of a peer cannot be served: %s", refusal)

    def served_bundle(self) -> bytes | None:
        """Return the bundle of the served model as an archive, for peers."""
        served = self.served
        if served is None:
            return None
        return peer_bundles.pack(served.version, self._cache.folder(served.version))

    def _set_registry_state(self, error: str | None) -> None:
        self.registry = {"up": error is None, "checked_at": time.time(), "error": error}
        self._metrics.gauge("readmit_registry_up").set(1 if error is None else 0)
