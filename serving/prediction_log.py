"""The prediction log: written to Postgres in the background, in batches; bounded, and what is lost is counted."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
import psycopg2
from psycopg2.extensions import connection
from psycopg2.extras import execute_values

from readmit import db
from serving.api_settings import ServingSettings
from serving.instruments import Metrics

log = logging.getLogger("serving")
BATCH_ROWS = 1_000
EVERY_SECONDS = 1.0
COLUMNS = (
    "request_id, predicted_at, model_name, model_version, run_id, contract_hash, features, probability, risk,"
    " threshold, patient_nbr, encounter_id, history"
)
INSERT = f"insert into ops.predictions ({COLUMNS}) values %s"  # noqa: S608 (constants)
Row = tuple[Any, ...]


class PredictionLog:
    """`add` never waits: a full queue drops its oldest rows and counts them."""

    def __init__(
        self,
        settings: ServingSettings,
        metrics: Metrics,
        write: Callable[[list[Row]], None] | None = None,
    ) -> None:
        self._settings, self._metrics, self._write = settings, metrics, write or self._insert
        self._waiting: deque[Row] = deque()
        self._lock = threading.Lock()  # requests add and take from it while it is written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._connection: connection | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, once, and end; what is left is counted as lost."""
        self._stop.set()
        self._thread.join(timeout=15)
        self.flush()
        self._disconnect()
        self._metrics["readmit_log_lost_total"].inc(len(self._waiting))

    def add(self, rows: Iterable[Row]) -> None:
        """Queue predictions: values in the order of COLUMNS, features as names and values.

        A dict of features would be four times as large, and thousands may wait; the names are kept once.
        """
        with self._lock:
            self._waiting.extend(rows)
            lost = self._take(len(self._waiting) - self._settings.prediction_log_rows)
        if lost:
            self._metrics["readmit_log_lost_total"].inc(len(lost))

    @property
    def waiting(self) -> int:
        """Return how many predictions wait."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write all that waits; on a fault the rows go back to the queue."""
        while self._waiting:
            with self._lock:
                rows = self._take(min(BATCH_ROWS, len(self._waiting)))
            try:
                self._write(rows)
            except (psycopg2.Error, LookupError, OSError) as error:
                with self._lock:
                    self._waiting.extendleft(reversed(rows))
                self.error = f"{type(error).__name__}"
                log.warning("predictions wait for Postgres: %s", self.error)
                return
            self.error = None
            self._metrics["readmit_log_written_total"].inc(len(rows))

    def _take(self, n: int) -> list[Row]:
        """Return the oldest rows, which wait no longer; the lock is held."""
        return [self._waiting.popleft() for _ in range(n)]

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.flush()
            self._metrics["readmit_log_waiting"].set(len(self._waiting))

    def _insert(self, rows: list[Row]) -> None:
        ready = [(*row[:6], _as_json(*row[6]), *row[7:]) for row in rows]
        try:
            # One connection is kept: a log-in costs Postgres milliseconds, once a second and worker.
            if self._connection is None:
                self._connection = db.connect(
                    "serving", self._settings.clean_database, self._settings
                )
            with self._connection, self._connection.cursor() as cur:
                execute_values(cur, INSERT, ready, page_size=BATCH_ROWS)
        except psycopg2.Error:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _as_json(names: Sequence[str], values: Sequence[object]) -> str:
    return orjson.dumps(dict(zip(names, values, strict=True)), default=float).decode()
