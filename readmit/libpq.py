"""Time limits of connections to Postgres, for every program that uses libpq."""

from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlencode

SERVICE = "readmit"
SERVICE_FILE = Path(__file__).with_name("pg_service.conf")


_services = ConfigParser()
_services.read(SERVICE_FILE, encoding="utf-8")
# Airflow imports this by its name (AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS).
PARAMETERS = dict(_services[SERVICE])
# psycopg's, for a pool that lends a connection for one transaction: a statement that was prepared
# on one connection does not exist on the next. Airflow imports this by its name as well
# (k8s/components/pgbouncer/clients.env).
UNPREPARED: dict[str, str | None] = {**PARAMETERS, "prepare_threshold": None}


def as_query() -> str:
    """Return the parameters as the query of a `postgresql://` address."""
    return urlencode(PARAMETERS)


def environment() -> dict[str, str]:
    """Return the variables that give a program of others these parameters."""
    return {"PGSERVICE": SERVICE, "PGSERVICEFILE": str(SERVICE_FILE)}
