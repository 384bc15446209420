"""Follows the registry: takes a newly promoted model, refuses a bad one, starts from the local copy."""

import functools
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
from botocore.exceptions import BotoCoreError, ClientError

from serving import bundle_cache
from serving.bundle_loader import Loader, ModelRefused, ServedModel, Version, from_project, load
from serving.instruments import Metrics
from serving.standby import StandbyModel, release_memory

log = logging.getLogger("serving")
STANDBY_ALIASES = (
    "previous",
    "challenger",
)  # to compare with, and to score in shadow; at most one version each
UNREACHABLE = (httpx.HTTPError, BotoCoreError, ClientError, OSError)


class Source(Protocol):
    """What the watcher asks of a registry."""

    def at(self, alias: str, /) -> Version | None:
        """Return the version that an alias names."""
        ...

    def download(self, version: Version, folder: Path, /) -> None:
        """Write its bundle."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Watcher:
    """Keeps `served` at the production model. A swap is one assignment: a request sees one model from start to end."""

    def __init__(
        self,
        source: Source,
        cache: Path,
        every: float,
        metrics: Metrics,
        read: Loader = from_project,
    ) -> None:
        self.served: ServedModel | None = None
        self.standbys: dict[str, StandbyModel] = {}  # by alias
        self._unfit: dict[str, str] = {}  # the last refused version by alias
        self.refused: dict[str, str] = {}  # the last refused version, and why
        self.registry: dict[str, Any] = {"up": False, "checked_at": None, "error": "not asked yet"}
        self.origin = "none"
        self._source, self._cache, self._every, self._metrics, self._read = (
            source,
            cache,
            every,
            metrics,
            read,
        )
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
        """Look at the registry once and take another version if there is one; never raises for a fault outside."""
        try:
            version = self._source.at("production")
            if version is not None and not self._is_known(version):
                self._take(version, self._fetch(version), "registry")
            self._check_standbys()
            self._saw(None)
        except ModelRefused as refusal:
            self._refuse(version, refusal)
            self._saw(None)
        except UNREACHABLE as error:
            self._saw(f"{type(error).__name__}: {error}"[:300])

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.check()
            except Exception:
                log.exception("the look at the registry failed")
                self._saw("unexpected failure, see the log")
            self._stop.wait(self._every)

    def _check_standbys(self) -> None:
        """Follow the other aliases. One that names production's version, or an unfit one, stands for nothing."""
        for alias in STANDBY_ALIASES:
            if held := self.standbys.get(alias):
                held.release()
            version = self._source.at(alias)
            if version is None or (self.served and _key(version) == _key(self.served.version)):
                self.standbys.pop(alias, None)
                (self._cache / f"{alias}.json").unlink(missing_ok=True)
            elif _key(version) not in (self._held(alias), self._unfit.get(alias)):
                self._take_standby(alias, version)

    def _held(self, alias: str) -> str | None:
        found = self.standbys.get(alias)
        return None if found is None else _key(found.version)

    def _take_standby(self, alias: str, version: Version) -> None:
        try:
            self._hold(alias, version, self._fetch(version))
        except ModelRefused as refusal:
            self._unfit[alias] = _key(version)
            self.standbys.pop(alias, None)
            log.warning(
                "version %s, alias %s, cannot stand beside production: %s",
                version.version,
                alias,
                refusal,
            )
            return
        _write(self._cache / f"{alias}.json", orjson.dumps(asdict(version)))
        log.info("version %s, alias %s, stands beside production", version.version, alias)

    def _is_known(self, version: Version) -> bool:
        served = self.served
        if served is not None and _key(served.version) == _key(version):
            self.refused = {}
            self._metrics["readmit_model_refused"].set(0)
            return True
        return self.refused.get("version") == _key(version)

    def _take(self, version: Version, folder: Path, origin: str) -> None:
        fresh, before = load(folder, version, self._read), self.served
        self.served, self.origin, self.refused = fresh, origin, {}
        if before is not None:
            self._metrics["readmit_model"].labels(
                before.version.version, before.version.run_id
            ).set(0)
            self._metrics["readmit_model_swaps_total"].inc()
        self._metrics["readmit_model"].labels(version.version, version.run_id).set(1)
        self._metrics["readmit_model_promoted_timestamp_seconds"].set(_promoted(version))
        self._metrics["readmit_model_refused"].set(0)
        log.info("serving version %s from %s", version.version, origin)
        del before
        release_memory()
        if origin == "registry":
            _write(self._cache / "current.json", orjson.dumps(asdict(version)))

    def _fetch(self, version: Version) -> Path:
        """Return the folder of a version; it appears complete or not at all, whatever other workers do."""
        final = self._cache / _key(version)
        if final.exists():
            final.touch()  # taken again: not one of the old ones
            return final
        self._cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=bundle_cache.PARTIAL, dir=self._cache))
        try:
            self._source.download(version, partial)
            partial.touch()
            partial.rename(final)
            bundle_cache.prune(self._cache, self._in_use())
        except OSError:
            if not final.exists():  # else another worker was first
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def _in_use(self) -> set[str]:
        """Return the folders of the versions that answer, stand beside production, or are started from."""
        answering = [self.served.version] if self.served else []
        held = {
            _key(version)
            for version in (*answering, *(each.version for each in self.standbys.values()))
        }
        return held | {
            _named_by(self._cache / f"{name}.json") for name in ("current", *STANDBY_ALIASES)
        }

    def _start_from_copy(self) -> None:
        self._from_pointer(
            "current", lambda version, folder: self._take(version, folder, "local copy")
        )
        for alias in STANDBY_ALIASES:
            self._from_pointer(alias, functools.partial(self._hold, alias))

    def _hold(self, alias: str, version: Version, folder: Path) -> None:
        self.standbys[alias] = StandbyModel(version, folder, self._read)
        release_memory()

    def _from_pointer(self, name: str, take: Callable[[Version, Path], None]) -> None:
        pointer = self._cache / f"{name}.json"
        if not pointer.exists():
            return
        try:
            version = Version(**orjson.loads(pointer.read_bytes()))
            take(version, self._cache / _key(version))
        except (ModelRefused, OSError, TypeError, ValueError) as error:
            log.warning("the local copy cannot be served: %s", error)

    def _refuse(self, version: Version | None, refusal: ModelRefused) -> None:
        if version is None:
            return
        self.refused = {"version": _key(version), "reason": str(refusal)[:500]}
        shutil.rmtree(self._cache / _key(version), ignore_errors=True)
        self._metrics["readmit_model_refusals_total"].inc()
        self._metrics["readmit_model_refused"].set(1)
        log.error("version %s is refused: %s", version.version, refusal)

    def _saw(self, error: str | None) -> None:
        self.registry = {"up": error is None, "checked_at": time.time(), "error": error}
        self._metrics["readmit_registry_up"].set(1 if error is None else 0)


def _key(version: Version) -> str:
    safe: Callable[[str], str] = lambda text: "".join(c for c in text if c.isalnum() or c in "-_")  # noqa: E731
    return f"{safe(version.name)}-{safe(version.version)}-{safe(version.run_id)[:12]}"


def _named_by(pointer: Path) -> str:
    """Return the folder that a pointer names; empty when there is none or it cannot be read."""
    try:
        return _key(Version(**orjson.loads(pointer.read_bytes())))
    except (OSError, TypeError, ValueError):
        return ""


def _promoted(version: Version) -> float:
    """Return when a version was promoted, in seconds since 1970; 0 when the registry does not say."""
    try:
        return datetime.fromisoformat(version.promoted_at or "").timestamp()
    except ValueError:
        return 0.0


def _write(path: Path, body: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
    os.replace(name, path)
