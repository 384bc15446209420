"""Texts that the processes of a test run share: the first that asks makes it, the others read it."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

FOLDER = "TESTS_SHARED_FOLDER"  # the variable that names the folder of the whole test run


def text(name: str, make: Callable[[], str]) -> str:
    """Return what `make` returned first, in whichever process that was."""
    folder = Path(os.environ[FOLDER])
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            part = folder / f"{name}.part"
            part.write_text(make(), encoding="utf-8")
            part.replace(path)
    return path.read_text(encoding="utf-8")
