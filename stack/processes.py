"""Processes of the stack, found by the marks in their environment and ended by number."""

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

PR_SET_PDEATHSIG = 1
PROC = Path("/proc")


def marked(marks: Mapping[str, str]) -> list[int]:
    """Return the processes, this one and its parents excepted, that carry all `marks` in their environment."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    return sorted(pid for pid in _pids() - _lineage() if wanted <= _environment(pid))


def end(pids: list[int], seconds: float = 5) -> None:
    """End processes: politely, then by force when they are still there after `seconds`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = [pid for pid in pids if _signal(pid, number)]
        deadline = time.monotonic() + seconds
        while pids and time.monotonic() < deadline:
            time.sleep(0.1)
            pids = [pid for pid in pids if is_running(pid)]


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def memory_mb(pids: set[int]) -> float:
    """Return the proportional memory of processes: a page that several share counts once."""
    return sum(_pss_kb(pid) for pid in pids) / 1024


def family(pid: int) -> set[int]:
    """Return a process and all its descendants."""
    parents = {child: _parent(child) for child in _pids()}
    found, waiting = set(), {pid}
    while waiting:
        found |= waiting
        waiting = {child for child, parent in parents.items() if parent in waiting} - found
    return found


def die_with_parent() -> None:
    """Ask the kernel to end this process (and the program that it becomes) when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def executable(name: str) -> str:
    """Return the full path of a program."""
    return shutil.which(name) or name


def holder(port: int) -> str:
    """Return who listens on a port, as `name (process N)`, or an empty text when that cannot be seen."""
    inodes = _listening(port)
    for pid in _pids():
        try:
            links = {os.readlink(file) for file in (PROC / str(pid) / "fd").iterdir()}
        except OSError:
            continue
        if links & inodes:
            name = (PROC / str(pid) / "comm").read_text().strip()
            return f"{name} (process {pid})"
    return ""


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        path = PROC / "net" / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found


def _pids() -> set[int]:
    return {int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()}


def _lineage() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        pid = _parent(pid)
    return found


def _parent(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _environment(pid: int) -> set[bytes]:
    try:
        return set((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _pss_kb(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0
