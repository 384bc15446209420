"""Bundles on this disk: the newest stay, so that a roll-back needs no download; the rest goes."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

import orjson

from serving.bundle_loader import Version

log = logging.getLogger("serving")

KEPT = 5  # a bundle is some megabytes; more than any worker lags behind
PARTIAL = ".partial-"
ABANDONED_SECONDS = 3600.0  # far above what a download takes
Download = Callable[[Version, Path], None]


class BundleCache:
    """The folders of bundles, and the pointers that say which version each name stands for.

    Several workers share it: what appears in it appears complete or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, version: Version) -> Path:
        """Return where the bundle of a version is, or would be."""
        return self._folder / version.key

    def fetch(self, version: Version, download: Download, loaded: Collection[Version]) -> Path:
        """Return the folder of a version, downloaded if it is missing.

        Args:
            version: the version.
            download: writes its bundle into a folder.
            loaded: versions whose bundles must stay, beside those that pointers name.
        """
        final = self.folder(version)
        if final.exists():
            final.touch()  # it counts as new again
            return final
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self._folder))
        try:
            download(version, partial)
            partial.touch()
            partial.rename(final)
            keys_in_use = {version.key for version in loaded}
            for path in self._folder.glob("*.json"):
                named = self.pointer(path.stem)
                if named is not None:
                    keys_in_use.add(named.key)
            prune(self._folder, keys_in_use)
        except OSError:
            if not final.exists():  # else another worker was first
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def set_aside(self, version: Version) -> None:
        """Make room for another copy of a version's bundle.

        Other workers may be loading the old one: its files go an hour later, with the abandoned
        downloads.
        """
        aside = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self._folder))
        try:
            self.folder(version).rename(aside)
            aside.touch()
        except FileNotFoundError:  # another worker was first
            aside.rmdir()

    def pointer(self, name: str) -> Version | None:
        """Return the version that a name stands for, or None when that is unknown or unreadable."""
        path = self._pointer_path(name)
        if not path.exists():
            return None
        try:
            return Version(**orjson.loads(path.read_bytes()))
        except (OSError, TypeError, ValueError) as error:
            log.warning("%s cannot be read: %s", path, error)
            return None

    def set_pointer(self, name: str, version: Version) -> None:
        """Let a name stand for a version, in one step: other workers read it."""
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(asdict(version)))
        os.replace(temporary, self._pointer_path(name))

    def remove_pointer(self, name: str) -> None:
        """Let a name stand for nothing."""
        self._pointer_path(name).unlink(missing_ok=True)

    def _pointer_path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def prune(folder: Path, in_use: Collection[str]) -> list[str]:
    """Remove bundles that are neither in use nor among the `KEPT` newest, and abandoned downloads.

    Other workers do the same in the same folder: a bundle that is gone already is no error.

    Returns:
        The names of the removed folders.
    """
    folders = [path for path in folder.iterdir() if path.is_dir()]
    folders.sort(key=_modified_at, reverse=True)
    removed = []
    n_bundles = 0
    for path in folders:
        if path.name.startswith(PARTIAL):
            is_old = time.time() - _modified_at(path) > ABANDONED_SECONDS
        else:
            n_bundles += 1
            is_old = n_bundles > KEPT and path.name not in in_use
        if is_old:
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    if removed:
        log.info("%d old bundles removed from %s", len(removed), folder)
    return removed


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
