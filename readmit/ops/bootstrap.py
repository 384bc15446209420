"""Create databases, roles, rights and tables: `python -m readmit.ops.bootstrap`.

It may be run again at any time.
"""

import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, cursor

from readmit import db, libpq
from readmit.command import explained
from readmit.ops import schema_versions
from readmit.settings import OperationsSettings, SslMode

LOGIN_ROLES = tuple(role for role in db.ROLES if role != "postgres")
# Connections of the roles that answer callers: no flood of requests takes those of Airflow, MLflow
# and the pipeline. A process of the API has at most 2 as `reader` and 4 as `serving`.
MAX_CONNECTIONS: dict[db.Role, int] = {"reader": 60, "serving": 80}
# Owns ops.publish_build and nothing else. It has no password: nobody logs in as this role.
OPS_OWNER = "ops_owner"
# May delete what is append-only. `make erase` takes it; nobody logs in as this role either.
ERASER = "eraser"
# Tables of `raw` that `clean` sees.
FOREIGN_TABLES = ("encounters", "batches", "sources")
FDW_ROLES: tuple[db.Role, ...] = ("transformer", "publisher", "reader")
RAW_ROLES: tuple[db.Role, ...] = ("loader", *FDW_ROLES)
CLEAN_ROLES: tuple[db.Role, ...] = ("transformer", "publisher", "trainer", "serving", "reader")
# Minutes that a statement of each role may run, may wait for a lock, and that a transaction may do
# nothing. They end what hangs, and nothing that works comes near them: a task of the pipeline may
# take half an hour (`execution_timeout` in dags/shared.py), and publisher waits while dbt's role
# counts. The superuser has no limits, because it dumps and restores.
TIME_LIMIT_NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
TIME_LIMITS: dict[str, tuple[int, int, int]] = {
    "loader": (30, 10, 15),
    "transformer": (30, 10, 15),
    "publisher": (30, 10, 15),
    "trainer": (30, 5, 15),
    "serving": (1, 1, 1),
    "reader": (5, 1, 15),
    "mlflow": (15, 5, 15),
    "airflow": (15, 5, 15),
}
HIDE_STATEMENTS = """
    select set_config(name, setting, false)
    from (
        values
        ('log_min_error_statement', 'panic'),
        ('log_min_duration_statement', '-1'),
        ('log_statement', 'none')
    ) as quiet (name, setting)
    where (select rolsuper from pg_roles where rolname = current_user)
"""
# Advisory lock: two set-ups at the same time would create the same role twice.
SETUP_LOCK = 7_241_001


def bootstrap(settings: OperationsSettings, later: Collection[db.Role] = ()) -> None:
    """Create what the server lacks, and bring our tables to the version of this code.

    Args:
        settings: with the password of each role.
        later: roles that keep the password which they have until `set_password`.

    Raises:
        SchemaTooNew: newer code has changed a database; no table is changed.
        MigrationFailed: a migration failed and left the version before.
    """
    with _roles_and_databases(settings, later):
        schema_versions.migrate(settings)
        with db.transaction("postgres", settings.raw_database, settings) as raw:
            raw.cursor().execute(_statements("raw.sql"))
        _set_up_clean(settings)


def create_roles_and_databases(settings: OperationsSettings) -> None:
    """Create the roles and databases that the server lacks, and leave all tables as they are.

    A restore needs no more, also where newer code has changed the tables that it replaces.
    """
    with _roles_and_databases(settings):
        pass


@contextmanager
def _roles_and_databases(
    settings: OperationsSettings, later: Collection[db.Role] = ()
) -> Iterator[None]:
    """Create what the server lacks; no other set-up runs before the block has ended."""
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            hide_statements(cur)
            cur.execute("select pg_advisory_lock(%s)", (SETUP_LOCK,))
            _create_roles(cur, settings, later)
            _create_databases(cur, settings)
            yield


def set_password(role: db.Role, settings: OperationsSettings) -> None:
    """Give a role the password of the settings."""
    with db.transaction("postgres", "postgres", settings) as server, server.cursor() as cur:
        hide_statements(cur)
        _set_password(cur, role, settings)


def hide_statements(cur: cursor) -> None:
    """Keep the statements of this connection out of the server's log: they hold passwords.

    A statement that fails is logged as a whole, by default. Only a superuser may change that, so on
    a managed server its own settings decide.
    """
    cur.execute(HIDE_STATEMENTS)


def _set_password(cur: cursor, role: db.Role, settings: OperationsSettings) -> None:
    statement = sql.SQL("alter role {} with login password {}")
    secret = sql.Literal(db.password(role, settings))
    cur.execute(statement.format(sql.Identifier(role), secret))


def _create_roles(cur: cursor, settings: OperationsSettings, later: Collection[db.Role]) -> None:
    for role in LOGIN_ROLES:
        is_new = _create_role(cur, role)
        # A new role has no password: to try it would leave an error in Postgres' log.
        if is_new or (role not in later and not _password_works(role, settings)):
            _set_password(cur, role, settings)
        # Set the role's time limits, unless they are what they should be.
        cur.execute("select coalesce(rolconfig, '{}') from pg_roles where rolname = %s", (role,))
        [(present,)] = cur.fetchall()
        for name, minutes in zip(TIME_LIMIT_NAMES, TIME_LIMITS[role], strict=True):
            if f"{name}={minutes}min" not in present:
                change = sql.SQL("alter role {} set {} = {}")
                value = sql.Literal(f"{minutes}min")
                cur.execute(change.format(sql.Identifier(role), sql.Identifier(name), value))
    for limited, n_connections in MAX_CONNECTIONS.items():
        limit = sql.SQL("alter role {} connection limit {}")
        cur.execute(limit.format(sql.Identifier(limited), sql.Literal(n_connections)))
    _create_role(cur, OPS_OWNER)
    _create_role(cur, ERASER)


def _create_role(cur: cursor, role: str) -> bool:
    """Create a role unless it exists; return whether it was created."""
    cur.execute("select 1 from pg_roles where rolname = %s", (role,))
    if cur.fetchone() is not None:
        return False
    cur.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    return True


def _password_works(role: db.Role, settings: OperationsSettings) -> bool:
    """Tell whether the role can log in: a second set-up then changes nothing."""
    databases = {"mlflow": "mlflow", "airflow": "airflow", "loader": settings.raw_database}
    database = databases.get(role, settings.clean_database)
    try:
        db.connect(role, database, settings).close()
    except psycopg2.OperationalError:
        return False
    return True


def _create_databases(cur: cursor, settings: OperationsSettings) -> None:
    roles_of: dict[str, tuple[db.Role, ...]] = {
        settings.raw_database: RAW_ROLES,
        settings.clean_database: CLEAN_ROLES,
        "mlflow": ("mlflow",),
        "airflow": ("airflow",),
    }
    create = sql.SQL("create database {} owner {} encoding 'UTF8' template template0")
    revoke = sql.SQL("revoke all on database {} from public")
    measure = sql.SQL("grant connect on database {} to reader")
    grant = sql.SQL("grant connect on database {} to {}")
    revoke_temporary = sql.SQL("revoke temporary on database {} from {}")
    for name, roles in roles_of.items():
        database = sql.Identifier(name)
        owner = name if name in ("mlflow", "airflow") else "postgres"
        cur.execute("select 1 from pg_database where datname = %s", (name,))
        if cur.fetchone() is None:
            cur.execute(create.format(database, sql.Identifier(owner)))
        cur.execute(revoke.format(database))
        # The exporter of metrics logs in as `reader`: the right to connect shows the size of a
        # database, and no table of it.
        cur.execute(measure.format(database))
        cur.execute(grant.format(database, sql.SQL(", ").join(map(sql.Identifier, roles))))
        if owner == "postgres":
            # In 0.1.0 every role could create temporary tables.
            without = sql.SQL(", ").join(map(sql.Identifier, sorted(set(roles) - {"transformer"})))
            cur.execute(revoke_temporary.format(database, without))
    # dbt creates temporary tables; MLflow and Airflow own their databases.
    clean = sql.Identifier(settings.clean_database)
    cur.execute(sql.SQL("grant temporary on database {} to transformer").format(clean))
    cur.execute("revoke all on database postgres, template1 from public")
    cur.execute("grant connect on database postgres, template1 to reader")  # to measure them


def _set_up_clean(settings: OperationsSettings) -> None:
    with (
        db.transaction("postgres", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        hide_statements(cur)
        cur.execute("create extension if not exists postgres_fdw")
        _create_server(cur, settings)
        # Each role is itself on the foreign server too, so that its own rights in `raw` hold.
        create = sql.SQL(
            "create user mapping if not exists for {} server raw_server"
            " options (user {}, password {})"
        )
        change = sql.SQL("alter user mapping for {} server raw_server options (set password {})")
        for role in FDW_ROLES:
            user = sql.Identifier(role)
            secret = sql.Literal(db.password(role, settings))
            cur.execute(create.format(user, sql.Literal(role), secret))
            cur.execute(change.format(user, secret))
        with db.transaction("postgres", settings.raw_database, settings) as raw:
            _follow_tables(cur, raw.cursor())
        cur.execute(_statements("clean.sql"))


def _create_server(cur: cursor, settings: OperationsSettings) -> None:
    """Point `raw_server` at the database `raw`; address and options follow the settings."""
    address = {
        "host": settings.postgres_host,
        "port": str(settings.postgres_port),
        "dbname": settings.raw_database,
    }
    # 1,000 bytes a row: a batch comes over in a few fetches.
    tuning = {
        "updatable": "false",
        "fetch_size": "5000",
        "sslmode": foreign_sslmode(settings.pgsslmode),
        **libpq.PARAMETERS,
    }
    cur.execute("select srvoptions from pg_foreign_server where srvname = 'raw_server'")
    row = cur.fetchone()
    if row is None:
        cur.execute("create server raw_server foreign data wrapper postgres_fdw")
    present = {}
    if row and row[0]:
        present = dict(option.split("=", 1) for option in row[0])
    change = sql.SQL("alter server raw_server options ({} {} {})")
    for name, value in (address | tuning).items():
        if present.get(name) != value:
            action = sql.SQL("set" if name in present else "add")
            cur.execute(change.format(action, sql.Identifier(name), sql.Literal(value)))


def foreign_sslmode(sslmode: SslMode | None) -> SslMode:
    """Return the TLS mode of `raw_server`, over which the server connects to itself.

    The server has no file with its own authority, so there it encrypts without verifying.
    """
    if sslmode in ("verify-ca", "verify-full"):
        return "require"
    return sslmode or "prefer"


def _follow_tables(clean: cursor, raw: cursor) -> None:
    """Give the foreign tables of `clean` the columns that their tables in `raw` have now."""
    clean.execute("create schema if not exists raw")
    create = sql.SQL(
        "create foreign table if not exists {} () server raw_server"
        " options (schema_name 'landing', table_name {})"
    )
    for name in FOREIGN_TABLES:
        table = sql.Identifier("raw", name)
        clean.execute(create.format(table, sql.Literal(name)))
        present = _columns(clean, f"raw.{name}")
        required = _columns(raw, f"landing.{name}")
        changes = []
        for column in present.keys() - required.keys():
            changes.append(sql.SQL("drop column {}").format(sql.Identifier(column)))
        for column, data_type in required.items():
            words = "alter column {} type {}" if column in present else "add column {} {}"
            if present.get(column) != data_type:
                change = sql.SQL(words).format(sql.Identifier(column), sql.SQL(data_type))
                changes.append(change)
        if changes:
            alter = sql.SQL("alter foreign table {} {}")
            clean.execute(alter.format(table, sql.SQL(", ").join(changes)))


def _columns(cur: cursor, table: str) -> dict[str, str]:
    """Return the type of each column, in the order of the table."""
    cur.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (table,),
    )
    return dict(cur.fetchall())


def _statements(name: str) -> str:
    return (files("readmit.ops.sql") / name).read_text(encoding="utf-8")


@explained
def main() -> int:
    """Command line: set up the server of the settings."""
    try:
        bootstrap(OperationsSettings())
    except (schema_versions.SchemaTooNew, schema_versions.MigrationFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("databases, roles and tables are in place")
    return 0


if __name__ == "__main__":
    sys.exit(main())
