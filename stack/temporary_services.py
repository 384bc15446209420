"""Postgres and the object store for tests and measurements.

The stack's own programs, on free ports.

They run in a temporary folder and end with the process that asked for them.
"""

import atexit
import os
import random
import secrets
import shutil
import socket
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from readmit import db, storage
from readmit.inference import signatures
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
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
SECONDS_TO_START = 120
# Seaweed takes four ports in a row, and each of them plus 10,000.
S3_OFFSETS = (0, 1, 2, 3, 10_000, 10_001, 10_002, 10_003)
# Each process of a parallel test run takes its ports from a range of its own.
N_TEST_PROCESSES = 4
_test_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_first_port = 12_000 + 2_500 * (_test_process % N_TEST_PROCESSES)
PORTS = range(_first_port, _first_port + 2_500)
_handed_out: set[int] = set()


def free_port(offsets: tuple[int, ...] = (0,)) -> int:
    """Return a port on which nobody listens, nor on those at `offsets` from it.

    Never the same twice.

    It is below the ports that Linux takes for outgoing connections (from 32768): nobody takes it
    before the server that it is for has started.
    """
    while True:
        port = random.choice(PORTS)  # noqa: S311 (no secret)
        candidates = {port + offset for offset in offsets}
        if not candidates & _handed_out and all(is_free(candidate) for candidate in candidates):
            _handed_out.update(candidates)
            return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine.

    Connections that are closed do not count.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


@cache
def services() -> dict[str, Any]:
    """Start Postgres and S3 once per process.

    Returns the values of the settings that reach them.
    """
    home = Path(tempfile.mkdtemp(prefix="readmit-temporary-"))
    home.chmod(0o711)  # as root, Postgres runs under another user
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    values: dict[str, Any] = {f"{role}_password": secrets.token_urlsafe(12) for role in ROLES}
    values["aws_access_key_id"] = "readmit"
    values["aws_secret_access_key"] = secrets.token_hex(8)
    values["postgres_port"] = free_port()
    values["s3_port"] = free_port(S3_OFFSETS)
    values["readmit_home"] = home
    values["model_signing_key"], values["model_public_key"] = signatures.generate_keys()
    settings = StackSettings(**values)
    _start_store(settings)
    _start_postgres(settings)
    storage.ensure_buckets(settings)
    return {**values, "s3_endpoint_url": settings.s3_endpoint_url}


def _start_store(settings: StackSettings) -> None:
    secret = settings.aws_secret_access_key.get_secret_value()
    store = Store(settings.readmit_home, settings.s3_port, settings.aws_access_key_id, secret)
    process = store.start(SECONDS_TO_START)
    atexit.register(store.tidy)
    atexit.register(process.wait)
    atexit.register(process.kill)  # nobody needs this data: a plain stop takes 15 s


def _start_postgres(settings: StackSettings) -> None:
    server = Server(settings.readmit_home, settings.postgres_port)
    server.initialise(db.password("postgres", settings))
    process = server.start(SECONDS_TO_START)
    atexit.register(process.wait)
    atexit.register(server.stop)
    with (
        closing(db.connect("postgres", "postgres", settings)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        cur.execute("alter system set fsync = off")  # nobody needs this data after a power cut
        cur.execute("select pg_reload_conf()")


def fresh(home: Path, **values: Any) -> StackSettings:  # noqa: ANN401 (values of any setting)
    """Return settings with a raw and a clean database that nobody has used yet."""
    name = secrets.token_hex(4)
    values = {
        **services(),
        "raw_database": f"raw_{name}",
        "clean_database": f"clean_{name}",
        "readmit_home": home,
        "batch_size": 500,
        **values,
    }
    settings = StackSettings(**values)
    bootstrap(settings)
    return settings


def environment(settings: StackSettings) -> dict[str, str]:
    """Return this process' environment with the settings as variables, for another process."""
    variables = dict(os.environ)
    for name, value in settings.model_dump().items():
        if isinstance(value, SecretStr):
            variables[name.upper()] = value.get_secret_value()
        elif value is not None:
            variables[name.upper()] = str(value)
    return variables
