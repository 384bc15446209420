"""A patient's history from Postgres, within a hard time limit. Every look-up is audited."""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Literal, NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection

from readmit import db
from readmit.client.answer_types import Value
from serving.api_settings import ServingSettings
from serving.instruments import Metrics

log = logging.getLogger("serving")
# One row per patient_nbr, with columns as the contract names them. It is a constant because dbt
# grants the role `serving` this relation and no other.
HISTORY_RELATION = ("marts", "dim_patients")
PAUSE_SECONDS = 5.0  # after a fault the database is left alone for this long
THREADS = 2
MAX_WAITING = 8  # a longer queue would break the time limit
PastStays = Mapping[str, Value | None]
UNAVAILABLE: Literal["unavailable"] = "unavailable"
# One statement reads the history and records who read it: there is no history without its row in
# the audit. The row is written even when nobody waits for the answer any more.
# The three statements travel together and are one transaction, so that PgBouncer may lend a
# connection for each look-up. The time limit does not allow to wait for the disk: when Postgres'
# server crashes, the last half second of the audit may be lost. Nothing is lost when the API or its
# connection ends.
QUERY = """
    set local statement_timeout = %(timeout_ms)s;
    set local synchronous_commit = off;
    with patient as materialized (
        select {columns} from {relation} where patient_nbr = %(patient_nbr)s
    ),
    audit as (
        insert into ops.history_lookups (caller, patient_nbr, request_id, outcome)
        select
            %(caller)s, %(patient_nbr)s, %(request_id)s,
            case when exists (select from patient) then 'found' else 'none' end
    )
    select * from patient
"""


class HistoryUnavailable(Exception):
    """The history cannot be read now: nobody knows whether there is one."""


class Reader(NamedTuple):
    """Who looks a history up, for the audit: the name of the key, and the request."""

    caller: str
    request_id: str


class _ThreadConnection(threading.local):
    """The connection of one thread."""

    database: connection | None = None


class HistoryLookup:
    """Looks history up in a few threads, each with its own connection."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, "history")
        self._local = _ThreadConnection()
        self._paused_until = 0.0
        self._waiting = 0

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def find(
        self, patient_nbr: int, columns: tuple[str, ...], reader: Reader
    ) -> PastStays | None:
        """Return a patient's history, or None when there is none.

        Raises:
            HistoryUnavailable: it did not come in time, or the database does not answer.
        """
        if time.monotonic() < self._paused_until or self._waiting >= MAX_WAITING:
            self._count("failed")
            raise HistoryUnavailable
        self._waiting += 1
        query = asyncio.get_running_loop().run_in_executor(
            self._threads, self._read, patient_nbr, columns, reader
        )
        query.add_done_callback(self._on_done)
        try:
            # Shielded: the query ends by itself, and only then is its thread free again.
            history = await asyncio.wait_for(
                asyncio.shield(query), self._settings.history_timeout_ms / 1000
            )
        except (TimeoutError, psycopg2.Error, LookupError) as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._count("failed")
            log.warning("no history for %d s: %s", PAUSE_SECONDS, type(error).__name__)
            raise HistoryUnavailable from error
        self._count("found" if history else "none")
        return history

    def _on_done(self, query: "asyncio.Future[PastStays | None]") -> None:
        self._waiting -= 1
        if not query.cancelled():
            query.exception()  # marks it as read: a fault after the time limit is counted already

    def _count(self, outcome: str) -> None:
        self._metrics.counter("readmit_history_lookups_total", outcome).inc()

    def _read(self, patient_nbr: int, columns: tuple[str, ...], reader: Reader) -> PastStays | None:
        query = sql.SQL(QUERY).format(
            columns=sql.SQL(", ").join([sql.Identifier(column) for column in columns]),
            relation=sql.Identifier(*HISTORY_RELATION),
        )
        parameters = {
            **reader._asdict(),
            "patient_nbr": patient_nbr,
            "timeout_ms": self._settings.history_timeout_ms,
        }
        try:
            if self._local.database is None:
                database = db.connect("serving", self._settings.clean_database, self._settings)
                database.set_session(autocommit=True)
                self._local.database = database
            with self._local.database.cursor() as cur:
                cur.execute(query, parameters)
                row = cur.fetchone()
        except psycopg2.Error:
            if self._local.database is not None:
                self._local.database.close()
                self._local.database = None
            raise
        if row is None:
            return None
        history = dict(zip(columns, row, strict=True))
        for column, value in history.items():
            if isinstance(value, Decimal):
                history[column] = float(value)
        return history
