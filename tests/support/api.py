"""The API as real processes: `tests.support.metrics_app` under uvicorn."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from readmit.settings import ROOT
from tests.support.services import NO_AUTHORITIES, end, free_port, wait_until


def uvicorn_command(port: int, workers: int) -> list[str]:
    """Return the command that starts the API as the stack does."""
    command = [sys.executable, "-m", "uvicorn", "tests.support.metrics_app:create", "--factory"]
    command += ["--no-access-log", "--no-proxy-headers"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "serving.protocol:Protocol", "--ws", "none"]
    command += ["--timeout-keep-alive", "75"]
    if workers > 1:
        command += ["--workers", str(workers)]
    return command


@contextmanager
def running(
    home: Path, workers: int, **variables: str
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Start the API with a model in each worker; yields its address and the (master) process."""
    (together := home / "together").mkdir()
    port = free_port()
    own_variables = {
        "PROMETHEUS_MULTIPROC_DIR": str(together),
        "METRICS_APP_HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen(
            uvicorn_command(port, workers),
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, **own_variables, **variables},
        )
    url = f"http://127.0.0.1:{port}"

    def have_started() -> bool:
        return len(processes(together)) == workers

    def are_ready() -> bool:
        return all(ready(url) for _ in range(10))

    try:
        wait_until(have_started, f"{workers} workers start", 60)
        wait_until(are_ready, "the workers have a model", 60)
        yield url, process
    finally:
        end(process)


def ready(url: str) -> bool:
    """Ask over a new connection, which any worker may take."""
    try:
        answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=5, verify=NO_AUTHORITIES)
    except httpx.TransportError:
        return False
    return answer.is_success


def processes(folder: Path) -> set[int]:
    """Return the living processes that have files of metrics in the folder."""
    pids = set()
    for file in folder.glob("*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if os.path.exists(f"/proc/{pid}"):
            pids.add(pid)
    return pids


def metric(url: str, name: str) -> float:
    """Return the sum of a metric over its labels and the workers."""
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=30, verify=NO_AUTHORITIES)
    total = 0.0
    for line in answer.text.splitlines():
        if line.split("{")[0].split(" ")[0] == name:
            total += float(line.split()[-1])
    return total
