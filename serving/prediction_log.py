"""The prediction log: written to Postgres in the background; bounded, and what is lost is
counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
import psycopg2
from psycopg2.extensions import connection
from psycopg2.extras import execute_values

from readmit import db
from readmit.client.answer_types import Value
from serving.api_settings import ServingSettings
from serving.instruments import Metrics

log = logging.getLogger("serving")
BATCH_ROWS = 1_000
EVERY_SECONDS = 1.0


# Names and values of features. A dictionary would be four times as large, and thousands may wait;
# the names are shared.
Features = tuple[Sequence[str], Sequence[Value]]


class LoggedPrediction(NamedTuple):
    """One row of ops.predictions: the fields are its columns."""

    request_id: str
    predicted_at: datetime
    model_name: str
    model_version: str
    run_id: str
    contract_hash: str
    features: Features
    probability: float
    risk: str
    threshold: float
    patient_nbr: str | None
    encounter_id: int | None
    history: str
    caller: str
    is_clinical: bool


INSERT = f"insert into ops.predictions ({', '.join(LoggedPrediction._fields)}) values %s"  # noqa: S608 (constants)


class PredictionLog:
    """`add` never waits: a full queue drops its oldest rows and counts them."""

    def __init__(
        self,
        settings: ServingSettings,
        metrics: Metrics,
        write: Callable[[list[LoggedPrediction]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._write = write or self._insert
        self._waiting: deque[LoggedPrediction] = deque()
        self._lock = threading.Lock()  # requests add while the thread takes
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
        self._count_lost(len(self._waiting))

    def add(self, predictions: Iterable[LoggedPrediction]) -> None:
        """Queue predictions."""
        with self._lock:
            self._waiting.extend(predictions)
            lost = self._take(len(self._waiting) - self._settings.prediction_log_rows)
        if lost:
            self._count_lost(len(lost))

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
                self.error = type(error).__name__
                log.warning("predictions wait for Postgres: %s", self.error)
                return
            self.error = None
            self._metrics.counter("readmit_log_written_total").inc(len(rows))

    def _count_lost(self, n_rows: int) -> None:
        self._metrics.counter("readmit_log_lost_total").inc(n_rows)

    def _take(self, n_rows: int) -> list[LoggedPrediction]:
        """Remove and return the oldest rows; the lock is held."""
        return [self._waiting.popleft() for _ in range(n_rows)]

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.flush()
            self._metrics.gauge("readmit_log_waiting").set(len(self._waiting))

    def _insert(self, predictions: list[LoggedPrediction]) -> None:
        rows = []
        for prediction in predictions:
            names, values = prediction.features
            features = dict(zip(names, values, strict=True))
            document = orjson.dumps(features, default=float).decode()
            rows.append((*prediction[:6], document, *prediction[7:]))
        try:
            # One connection is kept: a log-in each second and worker costs Postgres milliseconds.
            if self._connection is None:
                self._connection = db.connect(
                    "serving", self._settings.clean_database, self._settings
                )
            with self._connection, self._connection.cursor() as cur:
                execute_values(cur, INSERT, rows, page_size=BATCH_ROWS)
        except psycopg2.Error:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
