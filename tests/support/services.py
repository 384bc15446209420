"""Postgres, S3 and MLflow for tests: the real ones, on free ports, in a temporary folder, ended with the test run."""

import atexit
import os
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from readmit import db, storage
from readmit.ops.bootstrap import bootstrap
from readmit.settings import ROOT, StackSettings
from stack import processes, programs
from stack.object_store import Store
from stack.postgres import Server

ROLES = (
    "postgres",
    "loader",
    "transformer",
    "publisher",
    "trainer",
    "serving",
    "reader",
    "mlflow",
    "airflow",
)
SECONDS = 120
# Seaweed takes four ports in a row, and each of them plus 10,000.
S3_OFFSETS = tuple(first + more for first in (0, 10_000) for more in range(4))
N_WORKERS = 4
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % N_WORKERS
PORTS = range(12_000 + 2_500 * _worker, 14_500 + 2_500 * _worker)
_given: set[int] = set()


def free_port(offsets: tuple[int, ...] = (0,)) -> int:
    """Return a port that nobody listens on, nor on those at `offsets` from it; none is given twice.

    It is below those that Linux takes for outgoing connections (from 32768), and each test worker has a range of its
    own: nobody else takes it before the server that it is for has started.
    """
    while True:
        port = random.choice(PORTS)
        wanted = {port + offset for offset in offsets}
        if not wanted & _given and all(map(is_free, wanted)):
            _given.update(wanted)
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # closed connections do not count
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def wait_until(
    holds: Callable[[], Any], what: str, seconds: float = SECONDS, pause: float = 0.2
) -> Any:
    """Return what `holds` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(pause)
    return found


@cache
def services() -> dict[str, Any]:
    """Start Postgres and S3 once per test process; they end with it. Returns the settings that reach them."""
    home = Path(tempfile.mkdtemp(prefix="readmit-tests-"))
    home.chmod(0o711)  # as root, Postgres runs under another user
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    values: dict[str, Any] = {f"{role}_password": secrets.token_urlsafe(12) for role in ROLES}
    values |= {"aws_access_key_id": "readmit", "aws_secret_access_key": secrets.token_hex(8)}
    values |= {"postgres_port": free_port(), "s3_port": free_port(S3_OFFSETS), "readmit_home": home}
    settings = StackSettings(**values)
    _start_store(settings)
    _start_postgres(settings)
    storage.ensure_buckets(settings)
    return {**values, "s3_endpoint_url": settings.s3_endpoint_url}


def _start_store(settings: StackSettings) -> None:
    secret = settings.aws_secret_access_key.get_secret_value()
    store = Store(settings.readmit_home, settings.s3_port, settings.aws_access_key_id, secret)
    process = store.start(SECONDS)
    atexit.register(store.tidy)
    atexit.register(process.wait)
    atexit.register(process.kill)  # nobody needs this data: its own end takes a quarter of a minute


def _start_postgres(settings: StackSettings) -> None:
    server = Server(settings.readmit_home, settings.postgres_port)
    server.initialise(db.password("postgres", settings))
    process = server.start(SECONDS)
    atexit.register(process.wait)
    atexit.register(server.stop)
    with (
        closing(db.connect("postgres", "postgres", settings)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        cur.execute("alter system set fsync = off")  # nobody needs this data after a power cut
        cur.execute("select pg_reload_conf()")


def fresh(home: Path, **values: Any) -> StackSettings:
    """Return settings with a raw and a clean database that nobody has used yet."""
    name = secrets.token_hex(4)
    databases = {"raw_database": f"raw_{name}", "clean_database": f"clean_{name}"}
    settings = StackSettings(
        **{**services(), **databases, "readmit_home": home, "batch_size": 500, **values}
    )
    bootstrap(settings)
    return settings


def environment(settings: StackSettings) -> dict[str, str]:
    """Return the settings as environment variables, for another process."""
    values = {}
    for name, value in settings.model_dump().items():
        if value is not None:
            values[name.upper()] = (
                value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            )
    return {**os.environ, **values}


@cache
def mlflow() -> StackSettings:
    """Start MLflow as the stack does, on this Postgres and S3; returns the settings that reach all three."""
    settings = StackSettings(**services(), mlflow_port=free_port())
    bootstrap(settings)
    program = next(
        program for program in programs.all_programs(settings) if program.name == "mlflow"
    )
    told = {**os.environ, **programs.shared_environment(settings), **program.environment}
    log = settings.readmit_home / "mlflow.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            program.command, env=told, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
    atexit.register(end, process)
    wait_until(lambda: _answers(program.health, process, log), "MLflow does not answer")
    return settings


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children by number, by force when asking does not help."""
    processes.end(processes.family(process.pid), 10)
    process.wait()
