"""Start programs; find processes by environment or port, measure their memory, end them."""

import ctypes
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

# From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class NotReady(Exception):
    """A program that was started did not get ready; the message has the end of its log."""


def start(
    command: list[str],
    log_path: Path,
    variables: Mapping[str, str],
    is_ready: Callable[[], bool],
    *,
    seconds: float,
    start_new_session: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start a program in the folder of its log, wait until it is ready and return its process.

    Raises:
        NotReady: it ended, or was not ready within `seconds`.
    """
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=log_path.parent,
            env=variables,
            start_new_session=start_new_session,
        )
    deadline = time.monotonic() + seconds
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log_path.read_text(errors="replace").splitlines()
            raise NotReady(" | ".join(lines[-5:]))
        time.sleep(0.05)
    return process


def marked(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Return the processes whose environment has all `marks`, as far as this user may read it."""
    matches = []
    for process in psutil.process_iter():
        variables = environment(process)
        if variables is not None and marks.items() <= variables.items():
            matches.append(process)
    return matches


def environment(process: psutil.Process) -> dict[str, str] | None:
    """Return the environment that a process started with, or None when this user may not read it.

    Only root may read the environment of another user's process, and of a process that has made
    itself non-dumpable (`PR_SET_DUMPABLE` 0), as Airflow's task supervisors do.
    """
    try:
        return dict(process.environ())
    except psutil.AccessDenied:
        return None
    except psutil.NoSuchProcess:
        return {}


def end(processes: Iterable[psutil.Process], seconds: float = 5) -> None:
    """End processes with SIGTERM, and with SIGKILL the ones that still run after `seconds`.

    Raises:
        PermissionError: a process is another user's.
    """
    remaining = list(processes)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in remaining:
            _signal(process, number)
        deadline = time.monotonic() + seconds
        while remaining := list(filter(is_running, remaining)):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)


def is_running(process: psutil.Process) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants, or an empty list when it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Return the proportional memory of processes in MB, in which a shared page counts once.

    A process whose memory map this user may not read (see `environment`) counts as 0 MB.
    """
    n_bytes = 0
    for process in processes:
        try:
            n_bytes += process.memory_full_info().pss
        except psutil.Error:
            continue
    return n_bytes / 1024**2


def holder(port: int) -> str:
    """Return the process that listens on a port, as `name (process N)`, or an empty text."""
    for connection in psutil.net_connections("tcp"):
        is_listener = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        if is_listener and connection.pid is not None:
            with suppress(psutil.NoSuchProcess):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def is_port_free(port: int) -> bool:
    """Return whether no process listens on a port; closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def executable(name: str) -> str:
    """Return the path of a program on the PATH, or `name` itself when it is not there."""
    return shutil.which(name) or name


def die_with_parent() -> None:
    """Make the kernel end this process, also after an exec, when its parent dies."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Become the parent of each descendant whose parent dies; children do not inherit this."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        message = (
            f"process {process.pid} ({process.name()}) belongs to another user: end it as that user"
        )
        raise PermissionError(message) from error
