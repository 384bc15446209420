"""No connection to Postgres waits for ever: not for a server that has vanished, not for a lock, not
for a client that does nothing.
"""

import threading
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import create_engine

from readmit import db, libpq
from readmit.ops.bootstrap import LOGIN_ROLES, TIME_LIMITS
from readmit.settings import StackSettings
from tests.support import raw
from tests.support.silent_proxy import SilentProxy, silent_proxy

# The limits of the tests: those of the project are half a minute.
SHORT = {
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
}
SECONDS = 25
NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    return raw.fresh(tmp_path_factory.mktemp("home"))


@pytest.fixture
def proxy(settings: StackSettings) -> Iterator[SilentProxy]:
    with silent_proxy(settings.postgres_port) as running:
        yield running


@pytest.mark.root  # some systems let only root filter the packets of a socket
@pytest.mark.parametrize(
    "statement",
    ["select pg_sleep(60)", "select length(repeat('x', 10) || %s)"],
    ids=["waiting", "sending"],
)
def test_a_server_that_vanishes_is_noticed(
    settings: StackSettings,
    proxy: SilentProxy,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    for name, value in SHORT.items():
        assert name in libpq.PARAMETERS
        monkeypatch.setitem(libpq.PARAMETERS, name, value)
    through_proxy = settings.model_copy(update={"postgres_port": proxy.port})
    connection = db.connect("reader", settings.clean_database, through_proxy)
    errors: list[psycopg2.Error] = []

    values = None
    if "%s" in statement:
        values = ("y" * 100,)

    def run() -> None:
        try:
            with connection.cursor() as cur:
                cur.execute(statement, values)
        except psycopg2.Error as error:
            errors.append(error)

    client = threading.Thread(target=run, daemon=True)
    if values:
        proxy.go_silent()
        client.start()
    else:
        client.start()
        client.join(1)
        proxy.go_silent()
    client.join(SECONDS)
    assert not client.is_alive(), "the client waits for ever"
    assert isinstance(errors[0], psycopg2.OperationalError)


def test_a_vanished_server_is_noticed_within_half_a_minute() -> None:
    limits = {name: int(value) for name, value in libpq.PARAMETERS.items()}
    probes = limits["keepalives_interval"] * limits["keepalives_count"]
    assert limits["keepalives"] == 1
    assert limits["keepalives_idle"] + probes <= 30
    assert limits["tcp_user_timeout"] <= 30_000
    assert limits["connect_timeout"] <= 10


def test_great_expectations_and_mlflow_get_the_limits_by_their_address(
    settings: StackSettings,
) -> None:
    url = db.url("reader", settings.clean_database, settings)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.connect() as connection:
        dsn = connection.connection.dbapi_connection.get_dsn_parameters()
    engine.dispose()
    assert libpq.PARAMETERS.items() <= dsn.items()


def test_dbt_gets_the_limits_by_the_service_file(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in libpq.environment().items():
        monkeypatch.setenv(name, value)
    connection = psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user="transformer",
        password=db.password("transformer", settings),
        dbname=settings.clean_database,
    )
    dsn = connection.get_dsn_parameters()
    connection.close()
    assert libpq.PARAMETERS.items() <= dsn.items()


def test_the_foreign_server_of_raw_has_the_limits(settings: StackSettings) -> None:
    statement = "select unnest(srvoptions) from pg_foreign_server where srvname = 'raw_server'"
    options = {row[0] for row in raw.query(settings, settings.clean_database, statement)}
    assert {f"{name}={value}" for name, value in libpq.PARAMETERS.items()} <= options


@pytest.mark.parametrize("role", LOGIN_ROLES)
def test_each_role_has_time_limits(settings: StackSettings, role: db.Role) -> None:
    database = settings.clean_database
    if role in ("mlflow", "airflow"):
        database = role
    elif role == "loader":
        database = settings.raw_database
    statement = (
        "select setting::int / 60000 from pg_settings where name = any(%s)"
        " order by array_position(%s, name)"
    )
    rows = raw.query(settings, database, statement, list(NAMES), list(NAMES), role=role)
    minutes = tuple(row[0] for row in rows)
    assert minutes == TIME_LIMITS[role]
    assert all(minutes)


def test_a_client_that_hangs_in_a_transaction_loses_its_locks(settings: StackSettings) -> None:
    """The limit itself is a quarter of an hour; here it is shortened for one session."""
    with pytest.raises(psycopg2.OperationalError, match=r"closed|terminat|idle"):
        _hang_in_a_transaction(settings)


def _hang_in_a_transaction(settings: StackSettings) -> None:
    with db.transaction("publisher", settings.clean_database, settings) as clean:
        cur = clean.cursor()
        cur.execute("set idle_in_transaction_session_timeout = '100ms'")
        clean.commit()
        cur.execute("select 1")
        threading.Event().wait(1)
        cur.execute("select 1")
