"""Airflow's long-running parts survive a restart of Postgres."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine, create_engine, text

from readmit.ops import patient_connections
from stack.postgres import Server
from tests.support.services import free_port

PASSWORD = "secret"


class Running(Server):
    """A server that can be stopped and started."""

    def begin(self) -> None:
        process = self.start(60)
        self.__dict__["process"] = process

    def end(self) -> None:
        self.stop()
        self.__dict__["process"].wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path, free_port())
    server.initialise(PASSWORD, is_durable=False)
    server.begin()
    yield server
    server.end()


def engine(server: Running, password: str = PASSWORD) -> Engine:
    """Return an engine as Airflow makes its own: it pings a connection before it uses it."""
    return create_engine(
        f"postgresql+psycopg2://postgres:{password}@127.0.0.1:{server.port}/postgres",
        connect_args=patient_connections.PARAMETERS,
        pool_pre_ping=True,
    )


def test_a_statement_waits_until_postgres_is_back(server: Running) -> None:
    connections = engine(server)
    with connections.connect() as connection:
        assert connection.execute(text("select 1")).scalar() == 1
    server.end()
    # The server ends with the thread that started it.
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        pool.submit(begin_later, server)
        with connections.connect() as connection:
            assert connection.execute(text("select 2")).scalar() == 2
        assert time.monotonic() - started > 2
        connections.dispose()
        server.end()


def begin_later(server: Running) -> None:
    time.sleep(3)
    server.begin()


def test_it_does_not_wait_for_ever(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_connections, "SECONDS", 2.0)
    server.end()
    started = time.monotonic()
    with pytest.raises(Exception, match=r"refused|is the server running"):
        engine(server).connect()
    assert 1 < time.monotonic() - started < 15


def test_a_refused_password_is_reported_at_once(server: Running) -> None:
    started = time.monotonic()
    with pytest.raises(Exception, match="password authentication failed") as raised:
        engine(server, password="wrong").connect()
    assert isinstance(raised.value.__cause__, psycopg2.OperationalError)
    assert time.monotonic() - started < 5
