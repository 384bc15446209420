"""Bundles on this disk: the newest stay, so that a roll-back needs no download; the rest goes."""

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
