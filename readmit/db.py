"""Connections to Postgres by role and database, with the password of the role."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal, get_args
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn
from pydantic import SecretStr

from readmit import libpq
from readmit.settings import DatabaseSettings, variable

Role = Literal[
    "postgres",
    "loader",
    "transformer",
    "publisher",
    "trainer",
    "serving",
    "reader",
    "mlflow",
    "airflow",
]
ROLES: tuple[Role, ...] = get_args(Role)


def password(role: Role, settings: DatabaseSettings) -> str:
    """Return the password of `role`, from `READMIT_<ROLE>_PASSWORD` in the environment or `.env`.

    Raises:
        LookupError: the variable is not set, or this program does not log in as `role`; the
            message names the variable.
    """
    field = f"{role}_password"
    if field not in type(settings).model_fields:
        raise LookupError(
            f"{variable(field)} is not among the settings of this program:"
            f" {type(settings).__name__}"
        )
    secret: SecretStr | None = getattr(settings, field)
    if secret is None or not secret.get_secret_value():
        raise LookupError(
            f"{variable(field)} is not set: `make up` writes it into .env, "
            "`make k8s-up` into a Secret"
        )
    return secret.get_secret_value()


def url(role: Role, database: str, settings: DatabaseSettings) -> str:
    """Return the `postgresql://` address with the password in it: never log it."""
    secret = quote(password(role, settings), safe="")
    server = f"{settings.postgres_host}:{settings.postgres_port}"
    return f"postgresql://{role}:{secret}@{server}/{database}?{libpq.as_query()}"


def connect(role: Role, database: str, settings: DatabaseSettings) -> Connection:
    """Open a connection; the caller closes it. Commits are explicit.

    A server that vanishes is noticed after the time in `readmit/pg_service.conf`. How long a
    statement may run and wait is a setting of each role (`readmit.ops.bootstrap`).

    Raises:
        psycopg2.OperationalError: the server cannot be reached or refuses the role.
    """
    dsn = make_dsn(
        host=settings.postgres_host,
        port=settings.postgres_port,
        dbname=database,
        user=role,
        password=password(role, settings),
        sslmode=settings.pgsslmode,
        sslrootcert=settings.pgsslrootcert and str(settings.pgsslrootcert),
        application_name=f"readmit {role}",
        **libpq.PARAMETERS,
    )
    return psycopg2.connect(dsn)


@contextmanager
def transaction(role: Role, database: str, settings: DatabaseSettings) -> Iterator[Connection]:
    """Open a connection for one transaction: commit after the block, roll back on an error."""
    with closing(connect(role, database, settings)) as open_connection:
        try:
            yield open_connection
        except BaseException:
            # On a closed connection, a roll-back would hide the error that closed it.
            if not open_connection.closed:
                open_connection.rollback()
            raise
        open_connection.commit()
