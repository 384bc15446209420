"""Bundles on this disk: the last few stay, so that a roll-back needs no download; older ones and remains of it go."""

import logging
import shutil
import time
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger("serving")

KEPT = 5  # a bundle is some megabytes; more than any worker lags behind
PARTIAL = ".partial-"
ABANDONED_SECONDS = 3600.0  # far above what a download takes


def prune(folder: Path, in_use: Collection[str]) -> list[str]:
    """Remove all bundles but those in use and the `KEPT` taken last; returns the names of the removed.

    Other workers do the same in the same folder: what one of them has removed already is no fault.
    """
    bundles = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=_taken_at, reverse=True
    )
    partial = [path for path in bundles if path.name.startswith(PARTIAL)]
    whole = [path for path in bundles if path not in partial]
    gone = [path for path in whole[KEPT:] if path.name not in in_use]
    gone += [path for path in partial if time.time() - _taken_at(path) > ABANDONED_SECONDS]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    if gone:
        log.info("%d old bundles removed from %s", len(gone), folder)
    return [path.name for path in gone]


def _taken_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
