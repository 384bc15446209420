"""Connections of Airflow's scheduler, DAG processor and triggerer, which wait for Postgres.

Those end with the first statement that finds no server, and Kubernetes then starts them with ever
longer pauses. A server that is moved to another node is back within a minute. The pool pings a
connection before it is used, so a lost one is noticed there and made again here.
"""

import logging
import time

import psycopg2
from psycopg2.extensions import connection as Connection

from readmit import libpq

log = logging.getLogger(__name__)

# Less than the liveness probes allow (k8s/base/airflow-scheduler.yaml).
SECONDS = 150.0
PAUSE_SECONDS = 1.0
# What a server says that is there and refuses: it would refuse the next try too.
FINAL = ("password authentication failed", "does not exist", "no pg_hba.conf entry", "certificate")


def connect(dsn: str, _is_async: int = 0) -> Connection:
    """Open a connection as psycopg2 does; while there is no server, try again.

    Raises:
        psycopg2.OperationalError: the server refuses, or it was away for `SECONDS`.
    """
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return Connection(dsn)
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            if time.monotonic() > deadline or any(text in reason for text in FINAL):
                raise
        log.warning("Postgres is away, asking again: %s", reason)
        time.sleep(PAUSE_SECONDS)


# Airflow imports this by its name (AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS).
PARAMETERS = libpq.PARAMETERS | {"connection_factory": connect}
