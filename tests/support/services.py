"""Real Postgres, S3 and MLflow for tests; they end with the test run."""

import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil

from readmit import storage
from readmit.ops.bootstrap import bootstrap
from readmit.settings import ROOT, StackSettings
from stack import processes, programs
from stack.temporary_services import (
    CLEAN_UP,
    S3_OFFSETS,
    environment,
    free_port,
    fresh,
    services,
)

__all__ = [
    "NO_AUTHORITIES",
    "S3_OFFSETS",
    "end",
    "environment",
    "free_port",
    "fresh",
    "is_free",
    "keys_of_admin",
    "kill",
    "mlflow",
    "services",
    "wait_until",
]

is_free = processes.is_port_free
SECONDS = 120
# For `httpx.get(url, verify=...)` of plain HTTP: without it each call reads the authorities of this
# machine, 25 ms of a core.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def wait_until(
    holds: Callable[[], Any], what_is_late: str, seconds: float = SECONDS, pause: float = 0.2
) -> Any:
    """Return the result of `holds` once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        result = holds()
        if result:
            return result
        assert time.monotonic() < deadline, f"after {seconds} s: {what_is_late}"
        time.sleep(pause)


def keys_of_admin(*identities: storage.Identity) -> dict[str, Any]:
    """Return settings by which identities use a bucket of a test's own, as only the admin may."""
    values = {}
    for identity in identities:
        for name, admin_name in zip(
            storage.variables(identity), storage.variables("admin"), strict=True
        ):
            values[name.lower()] = services()[admin_name.lower()]
    return values


@cache
def mlflow() -> StackSettings:
    """Start MLflow as the stack does, on this Postgres and S3.

    Returns the settings that reach all three.
    """
    settings = StackSettings(**services(), mlflow_port=free_port())
    bootstrap(settings)
    users = [sys.executable, "-m", "readmit.ops.mlflow_users"]
    subprocess.run(users, env=environment(settings), cwd=ROOT, check=True)
    program = programs.find("mlflow", settings)
    log = settings.readmit_home / "mlflow.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            program.command,
            env=programs.environment_of(program, settings),
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    CLEAN_UP.callback(end, process)
    wait_until(lambda: _answers(program.health, process, log), "MLflow does not answer")
    return settings


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    try:
        return httpx.get(url, timeout=5, verify=NO_AUTHORITIES).is_success
    except httpx.HTTPError:
        return False


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children by number, by force when asking does not help."""
    processes.end(processes.family(process.pid), 10)
    process.wait()


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children: what they keep is temporary, and their regular end is not
    tested.
    """
    for member in processes.family(process.pid):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
