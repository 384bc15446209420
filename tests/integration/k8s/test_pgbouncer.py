"""PgBouncer itself, with the configuration that the manifests render and the image's entry point,
before a real Postgres.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from readmit import db, libpq
from readmit.batches import claims
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from serving.api_settings import ServingSettings
from serving.history import HistoryLookup, HistoryUnavailable, Reader
from serving.instruments import Metrics
from stack.postgres import Server, as_ordinary_user, give_to_ordinary_user, reachable
from tests.support import k8s, raw
from tests.support.services import end, free_port, wait_until
from tests.support.tls_front import tls_front

ENTRY_POINT = k8s.K8S / "images" / "pgbouncer" / "entrypoint.sh"
# Characters that a password out of a vault may have.
PASSWORD = """a"b\\c'd;#%$ e"""
HISTORY = (
    "create schema if not exists marts; grant usage on schema marts to serving;"
    " create table marts.dim_patients (patient_nbr bigint primary key, n_prior_stays integer);"
    " insert into marts.dim_patients values (7, 3); grant select on marts.dim_patients to serving"
)
N_SLICES = 6
SLICES = """
    insert into landing.sources (source_sha256, name, data_source, n_rows, object_key)
    values ('abc', 'a.csv', 'file', 6, 'key');
    insert into landing.slices (source_sha256, split, ordinal, batch_id, first_source_row,
        last_source_row, n_rows, content_sha256, object_key)
    select 'abc', 'train', i, 'train-' || i, i, i, 1, 'content-' || i, 'key-' || i
    from generate_series(1, 6) as i
"""
ACTIVE = "select count(*) from pg_stat_activity where usename = 'serving' and state = 'active'"


class Pool(NamedTuple):
    """A PgBouncer that runs."""

    port: int
    log: Path


@dataclass(frozen=True)
class Database:
    """A Postgres of this module, its settings, and the settings by which PgBouncer is reached."""

    server: Server
    direct: StackSettings
    pooled: StackSettings


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("pgbouncer")
    server = Server(folder, free_port())
    passwords = {f"{role}_password": secrets.token_urlsafe(12) for role in db.ROLES}
    passwords["reader_password"] = PASSWORD
    direct = StackSettings(**passwords, postgres_port=server.port, readmit_home=folder)
    server.initialise(db.password("postgres", direct), is_durable=False)
    process = server.start()
    try:
        bootstrap(direct)
        raw.query(direct, "clean", HISTORY)
        with pgbouncer(direct, folder) as pool:
            pooled = direct.model_copy(update={"postgres_port": pool.port})
            yield Database(server, direct, pooled)
    finally:
        server.stop()
        process.wait()


@contextmanager
def pgbouncer(settings: StackSettings, folder: Path, **variables: str) -> Iterator[Pool]:
    """Run the entry point on the rendered file; only the address to listen on is another."""
    home = reachable(folder) / secrets.token_hex(4)
    home.mkdir(mode=0o755)
    port = free_port()
    rendered = k8s.named(k8s.combined(("pgbouncer",)), "ConfigMap", "pgbouncer")["data"]
    options = rendered["pgbouncer.ini"]
    for line, changed in (
        ("listen_addr = *\n", "listen_addr = 127.0.0.1\n"),
        ("listen_port = 5432\n", f"listen_port = {port}\n"),
    ):
        assert line in options
        options = options.replace(line, changed)
    (home / "pgbouncer.ini").write_text(options)
    entry_point = home / "entrypoint.sh"
    entry_point.write_bytes(ENTRY_POINT.read_bytes())
    entry_point.chmod(0o755)
    give_to_ordinary_user(home)
    values = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "PGBOUNCER_FOLDER": str(home),
        "READMIT_POSTGRES_HOST": "127.0.0.1",
        "READMIT_POSTGRES_PORT": str(settings.postgres_port),
        "READMIT_PGSSLMODE": "disable",
        "READMIT_CLEAN_DATABASE": "clean",
        "READMIT_RAW_DATABASE": "raw",
        **variables,
    }
    for role in db.ROLES[1:]:
        values[f"READMIT_{role.upper()}_PASSWORD"] = db.password(role, settings)
    with (home / "log").open("wb") as log:
        command = [*as_ordinary_user(), str(entry_point), str(home / "pgbouncer.ini")]
        process = subprocess.Popen(command, env=values, stdout=log, stderr=log)
    try:
        wait_until(lambda: is_open(port, process, home / "log"), "PgBouncer is not there", 30)
        let_in("loader", "publisher", settings=settings, users=home / "userlist.txt")
        process.send_signal(signal.SIGHUP)
        yield Pool(port, home / "log")
    finally:
        end(process)


def let_in(*roles: db.Role, settings: StackSettings, users: Path) -> None:
    """Add roles to those whom the entry point lets in: a test shows that claims would work too."""
    with users.open("a") as file:
        for role in roles:
            file.write(f'"{role}" "{db.password(role, settings)}"\n')


def is_open(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_two_runs_through_pgbouncer_never_claim_the_same_batch(database: Database) -> None:
    """The lock of a claim is one of the transaction; one of the session would stay behind."""
    raw.query(database.direct, "raw", SLICES)

    def claim(run: str) -> str | None:
        return raw.claim_batch(run, database.pooled)

    runs = [f"run-{number}" for number in range(N_SLICES + 2)]
    with ThreadPoolExecutor(len(runs)) as threads:
        batches = list(threads.map(claim, runs))
    claimed = [batch for batch in batches if batch is not None]
    assert sorted(claimed) == [f"train-{number}" for number in range(1, N_SLICES + 1)]
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert raw.query(database.direct, "raw", locks) == [(0,)]
    for run in runs:
        claims.release_claim(run, database.pooled)


def history(settings: StackSettings, milliseconds: int = 1_000) -> HistoryLookup:
    values = settings.model_dump() | {"history_timeout_ms": milliseconds}
    return HistoryLookup(ServingSettings(**values), Metrics())


def look_up(history_lookup: HistoryLookup) -> object:
    reader = Reader("form", "7cbb1e5f-0000-4000-8000-000000000000")
    return asyncio.run(history_lookup.find(7, ("n_prior_stays",), reader))


def test_a_look_up_leaves_nothing_in_the_session(database: Database) -> None:
    lookup = history(database.pooled)
    assert look_up(lookup) == {"n_prior_stays": 3}
    with db.transaction("serving", "clean", database.pooled) as connection:
        cur = connection.cursor()
        cur.execute("select current_setting('statement_timeout'), pg_backend_pid()")
        [(timeout, pid)] = cur.fetchall()
        cur.execute("show synchronous_commit")
        assert (timeout, cur.fetchone()) == ("1min", ("on",))
    lookup.stop()
    # That was the connection of the look-up: the pool lends the one that was used last.
    used = "select pid from pg_stat_activity where usename = 'serving'"
    assert raw.query(database.direct, "clean", used) == [(pid,)]


def test_a_look_up_ends_at_its_time_limit(database: Database) -> None:
    lookup = history(database.pooled, milliseconds=400)
    with db.transaction("postgres", "clean", database.direct) as connection:
        connection.cursor().execute("lock table marts.dim_patients")
        with pytest.raises(HistoryUnavailable):
            look_up(lookup)
        wait_until(
            lambda: raw.query(database.direct, "raw", ACTIVE) == [(0,)],
            "the look-up goes on in Postgres",
            seconds=20,
        )
    lookup.stop()


def test_airflows_asynchronous_engine_works_in_lent_connections(database: Database) -> None:
    clients = k8s.named(k8s.combined(("pgbouncer",)), "ConfigMap", "pgbouncer-clients")["data"]
    address = clients["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"]
    parameters = clients["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC"]
    assert parameters == "readmit.libpq.UNPREPARED"
    settings = database.pooled
    server = f"airflow:{db.password('airflow', settings)}@127.0.0.1:{settings.postgres_port}"
    engine = create_async_engine(
        address.replace("airflow@", server, 1), connect_args=libpq.UNPREPARED, pool_size=8
    )

    async def ask() -> list[int]:
        async def one(number: int) -> int:
            total = 0
            for _ in range(8):  # psycopg prepares a statement when it comes for the sixth time
                async with engine.begin() as connection:
                    statement = text("select cast(:n as int), pg_sleep(0.002)")
                    total += (await connection.execute(statement, {"n": number})).scalar_one()
            return total

        answers = await asyncio.gather(*(one(number) for number in range(8)))
        await engine.dispose()
        return list(answers)

    assert asyncio.run(ask()) == [8 * number for number in range(8)]


def test_a_role_with_any_password_and_no_other_role_comes_in(database: Database) -> None:
    with db.transaction("reader", "clean", database.pooled) as connection:
        connection.cursor().execute("select from ops.published_batches")
    outsiders: tuple[db.Role, ...] = ("postgres", "trainer")
    for role in outsiders:
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            db.connect(role, "clean", database.pooled)
    wrong = database.pooled.model_copy(update={"serving_password": database.pooled.reader_password})
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        db.connect("serving", "clean", wrong)


def test_pgbouncer_verifies_postgres(database: Database, tmp_path: Path) -> None:
    folder = reachable(tmp_path)
    with tls_front(database.server.port, folder) as (port, authority):
        behind_tls = database.direct.model_copy(update={"postgres_port": port})
        verified = {"READMIT_PGSSLMODE": "verify-full", "READMIT_PGSSLROOTCERT": str(authority)}
        with pgbouncer(behind_tls, folder, **verified) as pool:
            pooled = behind_tls.model_copy(update={"postgres_port": pool.port})
            assert raw.query(pooled, "clean", "select 1", role="serving") == [(1,)]
        # Another certificate is in the same file from here on.
        with (
            tls_front(database.server.port, folder),
            pgbouncer(behind_tls, folder, **verified) as pool,
        ):
            password = db.password("serving", behind_tls)
            address = f"host=127.0.0.1 port={pool.port} dbname=clean connect_timeout=2"
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(address, user="serving", password=password)
            assert "certificate verify failed" in pool.log.read_text()


def test_a_statement_waits_until_postgres_is_back(database: Database) -> None:
    with db.transaction("serving", "clean", database.pooled) as connection:
        connection.cursor().execute("select 1")
    database.server.stop()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(raw.query, database.pooled, "clean", "select 2", role="serving")
        with pytest.raises(TimeoutError):
            answer.result(timeout=2)
        process = database.server.start()
        try:
            assert answer.result(timeout=60) == [(2,)]
        finally:
            database.server.stop()
            process.wait()
