"""A patient's history from Postgres, within a hard limit of time, with an honest "not found"."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import local
from typing import Any

import psycopg2
from psycopg2 import sql

from readmit import db
from serving.api_settings import ServingSettings
from serving.instruments import Metrics

# One row per patient_nbr, with columns as the contract names them. It is a constant because dbt grants the role
# `serving` this relation and no other.
HISTORY_RELATION = ("marts", "dim_patients")
PAUSE_SECONDS = 5.0  # after a fault the database is left alone for this long


class HistoryLookup:
    """Looks history up in a few threads with a connection each."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._threads = ThreadPoolExecutor(2, "history")
        self._mine = local()
        self._not_before = 0.0
        self._busy = 0

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def find(self, patient_nbr: int, columns: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the history of a patient, or None when it is unknown or not to be had in time."""
        if time.monotonic() < self._not_before or self._busy >= 8:  # a queue would break the limit
            return self._count("failed", None)
        self._busy += 1
        asked = asyncio.get_running_loop().run_in_executor(
            self._threads, self._read, patient_nbr, columns
        )
        asked.add_done_callback(self._done)
        try:
            found = await asyncio.wait_for(
                asyncio.shield(asked), self._settings.history_timeout_ms / 1000
            )
        except (TimeoutError, psycopg2.Error, LookupError):
            self._not_before = time.monotonic() + PAUSE_SECONDS
            return self._count("failed", None)
        return self._count("found" if found else "none", found)

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._busy -= 1
        if not future.cancelled():
            future.exception()  # seen: a late fault is no news

    def _count(self, outcome: str, found: dict[str, Any] | None) -> dict[str, Any] | None:
        self._metrics["readmit_history_lookups_total"].labels(outcome).inc()
        return found

    def _read(self, patient_nbr: int, columns: tuple[str, ...]) -> dict[str, Any] | None:
        query = sql.SQL("select {} from {} where patient_nbr = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(*HISTORY_RELATION)
        )
        try:
            with self._connection().cursor() as cur:
                cur.execute(query, (patient_nbr,))
                row = cur.fetchone()
        except psycopg2.Error:
            self._mine.connection.close() if getattr(self._mine, "connection", None) else None
            self._mine.connection = None
            raise
        if row is None:
            return None
        plain = (float(value) if isinstance(value, Decimal) else value for value in row)
        return dict(zip(columns, plain, strict=True))

    def _connection(self) -> Any:  # noqa: ANN401 (psycopg2's own type is not exported)
        if getattr(self._mine, "connection", None) is None:
            made = db.connect("serving", self._settings.clean_database, self._settings)
            made.set_session(readonly=True, autocommit=True)
            with made.cursor() as cur:
                cur.execute("set statement_timeout = %s", (self._settings.history_timeout_ms,))
            self._mine.connection = made
        return self._mine.connection
