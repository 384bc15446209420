"""Postgres and the object store for tests and measurements.

They are the stack's own programs, on free ports and in a temporary folder. They end with the
process that started them, or when it closes `CLEAN_UP`.
"""

import atexit
import os
import random
import secrets
import shutil
import signal
import tempfile
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

from psycopg2 import sql

from readmit import db, storage
from readmit.inference import signatures
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from stack.object_store import Store
from stack.postgres import Server
from stack.processes import is_port_free
from stack.programs import identities, settings_environment

SECONDS_TO_START = 120
# SeaweedFS listens on four ports in a row, and on each of them plus 10,000.
S3_OFFSETS = (0, 1, 2, 3, 10_000, 10_001, 10_002, 10_003)
# Each process of a parallel test run has its own range of ports.
N_TEST_PROCESSES = 4
_test_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_first_port = 12_000 + 2_500 * (_test_process % N_TEST_PROCESSES)
PORTS = range(_first_port, _first_port + 2_500)
_used_ports: set[int] = set()
# What is to be stopped and deleted, latest first. A process of pytest-xdist closes it itself: it is
# killed ten seconds after its last test, and this can take longer.
CLEAN_UP = ExitStack()
atexit.register(CLEAN_UP.close)
# What `timeout` and a cancelled job send ends Python without that, as a rule.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def free_port(offsets: tuple[int, ...] = (0,)) -> int:
    """Return a port that is free, with free ports at `offsets` from it; never the same port twice.

    Linux takes ports for outgoing connections from 32768. The port is below that, so no connection
    takes it before its server has started.
    """
    while True:
        port = random.choice(PORTS)  # noqa: S311 (no secret)
        candidates = {port + offset for offset in offsets}
        if candidates & _used_ports:
            continue
        if all(map(is_port_free, candidates)):
            _used_ports.update(candidates)
            return port


@cache
def services() -> dict[str, Any]:
    """Start Postgres and S3, once per process, and return the settings of their clients."""
    home = Path(tempfile.mkdtemp(prefix="readmit-temporary-"))
    home.chmod(0o711)  # root runs Postgres as another user
    CLEAN_UP.callback(shutil.rmtree, home, ignore_errors=True)
    values: dict[str, Any] = {f"{role}_password": secrets.token_urlsafe(12) for role in db.ROLES}
    names = ("tracking_password", "api_password", "notebook_password", "flask_server_secret_key")
    for name in names:
        values[f"mlflow_{name}"] = secrets.token_urlsafe(12)
    for identity in storage.IDENTITIES:
        for name in storage.variables(identity):
            values[name.lower()] = secrets.token_hex(8)
    values["erasure_key"] = secrets.token_urlsafe(32)
    values["postgres_port"] = free_port()
    values["s3_port"] = free_port(S3_OFFSETS)
    values["readmit_home"] = home
    values["model_signing_key"], values["model_public_key"] = signatures.generate_keys()
    settings = StackSettings(**values)

    store = Store(settings.readmit_home, settings.s3_port)
    process = store.start(identities(settings), SECONDS_TO_START)
    CLEAN_UP.callback(store.tidy)
    CLEAN_UP.callback(process.wait)
    CLEAN_UP.callback(process.kill)  # the data is temporary, and a regular stop takes 15 s

    server = Server(settings.readmit_home, settings.postgres_port)
    server.initialise(db.password("postgres", settings), is_durable=False)
    process = server.start(SECONDS_TO_START)
    CLEAN_UP.callback(process.wait)
    CLEAN_UP.callback(server.stop)
    _make_cheap(settings)
    storage.ensure_buckets(settings)
    return {**values, "s3_endpoint_url": settings.s3_endpoint_url}


def _make_cheap(settings: StackSettings) -> None:
    """Let Postgres keep data and passwords as cheaply as it can: both are temporary."""
    with (
        closing(db.connect("postgres", "postgres", settings)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        cur.execute("alter system set fsync = off")
        # Tests open thousands of connections: 4,096 rounds of hashing are half of what one costs.
        cur.execute("alter system set scram_iterations = 1")
        cur.execute("select pg_reload_conf()")
        cur.execute("set scram_iterations = 1")
        cur.execute("alter role postgres password %s", (db.password("postgres", settings),))


def fresh(home: Path, **values: Any) -> StackSettings:  # noqa: ANN401 (values of any setting)
    """Return settings with a new raw and a new clean database."""
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
    _copy_databases(_empty_databases(values["postgres_port"]), settings)
    bootstrap(settings)  # the rights on a database and its address in the other are not copied
    return settings


@cache
def _empty_databases(port: int) -> StackSettings:
    """Set up two databases on the server of this port, which nobody uses.

    To copy them is cheaper than to set up two more.
    """
    names = {"raw_database": "raw_template", "clean_database": "clean_template"}
    settings = StackSettings(**services() | {"postgres_port": port} | names)
    bootstrap(settings)
    return settings


def _copy_databases(originals: StackSettings, copies: StackSettings) -> None:
    names = {
        originals.raw_database: copies.raw_database,
        originals.clean_database: copies.clean_database,
    }
    # The default strategy, `wal_log`, takes four times as long.
    create = sql.SQL("create database {} template {} strategy file_copy")
    with (
        closing(db.connect("postgres", "postgres", copies)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        for original, copy in names.items():
            cur.execute(create.format(sql.Identifier(copy), sql.Identifier(original)))


def environment(settings: StackSettings) -> dict[str, str]:
    """Return this process' environment with the settings as variables, for another process."""
    return os.environ | settings_environment(settings)
