"""The servers that are measured: one process on the first core.

The load generator has the last one.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

from bench.figure import CannotMeasure
from readmit.settings import ROOT

READY_SECONDS = 60
# On one core more threads would wait for each other, and make Pipelines look slower than they are.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """A running server on this machine."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return the CPU time of its process and of the living ones that it started."""
        own = psutil.Process(self.pid)
        total = 0.0
        for process in (own, *own.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        return total


def cores() -> list[int]:
    """Return the cores of this process.

    Raises:
        CannotMeasure: there is one only; generator and server would share it.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise CannotMeasure("needs two cores: one for the server, one for the load generator")
    return available


def server_core() -> int:
    """Return the core of the servers."""
    return cores()[0]


def generator_core() -> int:
    """Return the core of the load generator."""
    return cores()[-1]


@contextmanager
def api(model: Path, api_keys: str = "") -> Iterator[Server]:
    """Run one worker of the API as `make up` does, with the model of a folder and no database.

    Args:
        model: the folder of the model.
        api_keys: the entries of READMIT_API_KEYS; empty: keys are off.
    """
    options = _uvicorn("bench.model_api:create")
    options += ["--http", "serving.protocol:Protocol", "--ws", "none"]
    with tempfile.TemporaryDirectory() as home:
        environment = {"READMIT_HOME": home, "READMIT_BENCH_MODEL": str(model)}
        environment["READMIT_API_KEYS"] = api_keys
        with _running(options, "/readyz", environment) as server:
            yield server


@contextmanager
def naive(model: Path) -> Iterator[Server]:
    """Run `bench.naive_api` with the Pipeline of a folder."""
    environment = ONE_THREAD | {"MODEL": str(model)}
    with _running(_uvicorn("bench.naive_api:create"), "/livez", environment) as server:
        yield server


@contextmanager
def mlflow_serve(model: Path) -> Iterator[Server]:
    """Run `mlflow models serve` of a folder with one worker."""
    options = ["-m", "mlflow", "models", "serve", "-m", str(model)]
    options += ["--env-manager", "local", "--workers", "1", "--host", "127.0.0.1"]
    # It starts its server by name, from PATH.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = ONE_THREAD | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with _running(options, "/ping", environment) as server:
        yield server


def _uvicorn(factory: str) -> list[str]:
    options = ["-m", "uvicorn", factory, "--factory", "--no-access-log"]
    return [*options, "--log-level", "error", "--no-proxy-headers", "--host", "127.0.0.1"]


@contextmanager
def _running(
    options: Sequence[str], ready_path: str, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run Python with these options and a free port.

    Gives the server once `ready_path` answers 200.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["taskset", "-c", str(server_core()), sys.executable, *options, "--port", str(port)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log, process_group=0
        )
        try:
            _await_ready(f"http://127.0.0.1:{port}{ready_path}", process, log)
            yield Server(port, process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 15)  # its children have the same group
            process.wait(timeout=30)


def _await_ready(address: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait until the address answers 200.

    Raises:
        CannotMeasure: it does not; the message has its last answer, or the end of its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    last_answer = ""
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            response = httpx.get(address, timeout=2, trust_env=False)
            if response.status_code == 200:
                return
            last_answer = response.text
        time.sleep(0.3)
    log.seek(0)
    log_end = log.read().decode(errors="replace")[-500:]
    raise CannotMeasure(f"the server did not get ready: {last_answer[:500] or log_end}")
