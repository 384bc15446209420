"""Data of Debian's Postgres 15 is brought to the installed version, by both ways."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from readmit.settings import StackSettings
from stack import postgres, postgres_major, preflight
from stack.postgres import PostgresFailed, Server
from tests.support import services

# OLD_POSTGRES names the folder of another installation.
OLD = Path(os.environ.get("OLD_POSTGRES", "/usr/lib/postgresql/15/bin"))
PASSWORD = "old and new"

pytestmark = pytest.mark.skipif(not (OLD / "initdb").exists(), reason=f"no Postgres in {OLD}")


def run_old(program: str, *arguments: str, cwd: Path) -> None:
    command = [*postgres.as_ordinary_user(), str(OLD / program), *arguments]
    subprocess.run(
        command,
        cwd=cwd,
        env=postgres.environment() | {"PGPASSWORD": PASSWORD},
        check=True,
        capture_output=True,
    )


@pytest.fixture
def settings() -> Iterator[StackSettings]:
    # Root runs Postgres as another user, who may not enter pytest's folders.
    home = Path(tempfile.mkdtemp(prefix="readmit-major-"))
    home.chmod(0o711)
    yield StackSettings(
        readmit_home=home,
        postgres_port=services.free_port(),
        postgres_password=SecretStr(PASSWORD),
    )
    shutil.rmtree(home)


def old_server(settings: StackSettings, *options: str) -> Server:
    """Create a cluster of the old version with a role, a database and rows."""
    server = Server(settings.readmit_home, settings.postgres_port)
    server.data.mkdir(mode=0o700, parents=True)
    secret = server.home / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    postgres.give_to_ordinary_user(server.data)
    words = [
        "-U",
        "postgres",
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]
    run_old("initdb", "-D", str(server.data), *words, *options, cwd=server.home)
    start = ["-D", str(server.data), "-w", "-l", str(server.data / "log")]
    flags = f"-p {server.port} -c unix_socket_directories='' -c listen_addresses=127.0.0.1"
    run_old("pg_ctl", *start, "-o", flags, "start", cwd=server.data)
    with closing(connect(server, "postgres")) as connection:
        connection.autocommit = True
        cur = connection.cursor()
        cur.execute("create role reader login password 'r'")
        cur.execute("create database clean")
    with closing(connect(server, "clean")) as connection:
        connection.cursor().execute(
            "create table t as select generate_series(1, 5000) as n; grant select on t to reader"
        )
        connection.commit()
    run_old("pg_ctl", "-D", str(server.data), "-w", "stop", cwd=server.data)
    return server


def connect(server: Server, database: str):
    return psycopg2.connect(
        host="127.0.0.1", port=server.port, user="postgres", password=PASSWORD, dbname=database
    )


@pytest.mark.parametrize(
    ("options", "ways"),
    [(["--data-checksums"], {"pg_upgrade", "dump and restore"}), ([], {"dump and restore"})],
)
def test_data_of_an_older_major_version_is_upgraded(settings, options, ways):
    server = old_server(settings, *options)
    assert "is of Postgres 15, and 18 is installed" in preflight.other_postgres(server.data)
    assert postgres_major.upgrade(settings, OLD) in ways
    assert preflight.other_postgres(server.data) == ""
    process = server.start()
    try:
        with closing(connect(server, "clean")) as connection:
            cur = connection.cursor()
            cur.execute(
                "select count(*), current_setting('data_checksums'),"
                " has_table_privilege('reader', 't', 'select') from t"
            )
            assert cur.fetchall() == [(5000, "on", True)]
        with closing(
            psycopg2.connect(
                host="127.0.0.1", port=server.port, user="reader", password="r", dbname="clean"
            )
        ):
            pass
    finally:
        server.stop()
        process.wait()
    assert (server.home / "postgres-before" / "PG_VERSION").read_text().strip() == "15"
    assert not (server.home / "postgres-next").exists()


def test_failed_upgrade_leaves_the_data(settings, tmp_path):
    server = old_server(settings)
    with pytest.raises((PostgresFailed, OSError)):
        postgres_major.upgrade(settings, tmp_path / "nowhere")
    assert (server.data / "PG_VERSION").read_text().strip() == "15"
    assert not (server.home / "postgres-next").exists()
