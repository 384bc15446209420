"""The servers that are measured: one process on the first core, the load generator has the last one to itself."""

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
# One core: more threads than that would wait for each other, and make Pipelines look slower than they are.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """A running server on this machine."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """Return its process and the living ones that it started."""
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the CPU time that they have used."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())


def cores() -> list[int]:
    """Return the cores of this process.

    Raises:
        CannotMeasure: there is one only; generator and server would share it.
    """
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise CannotMeasure("needs two cores: one for the server, one for the load generator")
    return found


def server_core() -> int:
    """Return the core of the servers."""
    return cores()[0]


def generator_core() -> int:
    """Return the core of the load generator."""
    return cores()[-1]


@contextmanager
def api(model: Path) -> Iterator[Server]:
    """Run one worker of the API as `make up` does, with the model of a folder and no database."""
    with tempfile.TemporaryDirectory() as home:
        told = {"READMIT_HOME": home, "READMIT_BENCH_MODEL": str(model)}
        edge = ["--http", "serving.protocol:Protocol", "--ws", "none"]
        with _running([*_uvicorn("bench.model_api:create"), *edge], "/readyz", told) as server:
            yield server


@contextmanager
def naive(model: Path) -> Iterator[Server]:
    """Run `bench.naive_api` with the Pipeline of a folder."""
    with _running(
        _uvicorn("bench.naive_api:create"), "/livez", ONE_THREAD | {"MODEL": str(model)}
    ) as server:
        yield server


@contextmanager
def mlflow_serve(model: Path) -> Iterator[Server]:
    """Run `mlflow models serve` of a folder with one worker."""
    command = [
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(model),
        "--env-manager",
        "local",
        "--workers",
        "1",
    ]
    # It starts its server by name, from PATH.
    told = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with _running([*command, "--host", "127.0.0.1"], "/ping", ONE_THREAD | told) as server:
        yield server


def _uvicorn(factory: str) -> list[str]:
    return [
        "-m",
        "uvicorn",
        factory,
        "--factory",
        "--no-access-log",
        "--log-level",
        "error",
        "--host",
        "127.0.0.1",
    ]


@contextmanager
def _running(options: Sequence[str], ready: str, told: Mapping[str, str]) -> Iterator[Server]:
    """Run Python with these options and a free port; gives the server once `ready` answers 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["taskset", "-c", str(server_core()), sys.executable, *options, "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **told}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, process_group=0
        )
        try:
            _wait(f"http://127.0.0.1:{port}{ready}", process, log)
            yield Server(port, process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 15)  # what it started has the same group
            process.wait(timeout=30)


def _wait(address: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait until it answers 200; raises CannotMeasure with what it said last instead, or how its log ends."""
    deadline, said = time.monotonic() + READY_SECONDS, ""
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            answer = httpx.get(address, timeout=2, trust_env=False)
            if answer.status_code == 200:
                return
            said = answer.text
        time.sleep(0.3)
    log.seek(0)
    raise CannotMeasure(
        f"the server did not get ready: {said[:500] or log.read().decode(errors='replace')[-500:]}"
    )
