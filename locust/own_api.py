"""An API that the capacity search starts on this machine, on cores of its own."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from readmit.settings import ROOT

SECONDS_TO_START = 60


class CannotMeasure(Exception):
    """Something that the measurement needs is missing; the message says what."""


@contextmanager
def own_api(workers: int, model: Path, cores: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Run the API with the model of a folder on a free port; gives its address and process.

    Raises:
        CannotMeasure: it is not ready within a minute.
    """
    port = free_port()
    host = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "bench.model_api:create", "--factory"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    command += ["--no-access-log", "--log-level", "error", "--timeout-keep-alive", "75"]
    command += ["--http", "serving.protocol:Protocol", "--ws", "none"]
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("wb") as log:
        environment = os.environ | {
            "READMIT_HOME": home,
            "PYTHONPATH": str(ROOT),
            "LOG_LEVEL": "ERROR",
            "READMIT_BENCH_MODEL": str(model.resolve()),
        }
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            psutil.Process(process.pid).cpu_affinity(list(cores))
            _await_ready(host, process, Path(home) / "log")
            yield host, process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await_ready(host: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the API has a model."""
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{host}/readyz", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(0.3)
    raise CannotMeasure(f"the API did not get ready: {log.read_text(errors='replace')[-1500:]}")


def reference_model() -> Path:
    """Return the folder of the model that `make bench` measures; it is fitted when there is none.

    Raises:
        CannotMeasure: there is none, and none can be fitted.
    """
    command = [sys.executable, "-m", "bench.reference_model"]
    process = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        raise CannotMeasure("no model to serve: name a folder by --model")
    return Path(process.stdout.splitlines()[-1])
