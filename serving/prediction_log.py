"""The prediction log: bounded, written to Postgres in the background; lost rows are counted."""

import logging
import threading
import time
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
# The last write at the end of the process. With what the other parts take, it fits into the time
# that Kubernetes leaves after uvicorn's own shut-down: tests/contract/k8s holds the sum.
STOP_SECONDS = 10.0
# Errors of Postgres or its driver about rows that cannot be written.
ROW_FAULTS = (psycopg2.DataError, psycopg2.IntegrityError, TypeError, ValueError)
OUTSIDE_FAULTS = (psycopg2.Error, LookupError, OSError)  # Postgres is away, or refuses the log-in


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
    calls_per_100: int | None  # None: the model was registered without thresholds by calls
    capacity_risk: str | None


# A commit whose answer was lost is repeated: rows that are there already are no error.
INSERT = (
    f"insert into ops.predictions ({', '.join(LoggedPrediction._fields)})"  # noqa: S608 (constants)
    " values %s on conflict do nothing"
)


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
        self._writing: list[LoggedPrediction] = []  # the rows of the write that is under way
        self._batch_rows = BATCH_ROWS  # of the next write
        self._lock = threading.Lock()  # requests add while the thread takes
        self._flushing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._connection: connection | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Begin writing."""
        self._metrics.gauge("readmit_log_emptied_timestamp_seconds").set(time.time())
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, once and within STOP_SECONDS; what is left is counted as lost."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        self._count_lost(self.waiting)

    def add(self, predictions: Iterable[LoggedPrediction]) -> None:
        """Queue predictions."""
        with self._lock:
            self._waiting.extend(predictions)
            lost = self._take(len(self._waiting) - self._settings.prediction_log_rows)
        if lost:
            self._count_lost(len(lost))

    @property
    def waiting(self) -> int:
        """Return how many predictions wait, those that are being written included."""
        return len(self._waiting) + len(self._writing)

    def flush(self) -> None:
        """Write all that waits, until Postgres is away: then the rows go back to the queue.

        A row that cannot be written is found by halving: it is dropped, counted and logged.
        """
        with self._flushing:
            while self._waiting:
                if not self._write_some():
                    return
        self._metrics.gauge("readmit_log_emptied_timestamp_seconds").set(time.time())

    def _write_some(self) -> bool:
        """Write the oldest rows; return False when a fault lies outside of the rows."""
        with self._lock:
            self._writing = self._take(min(self._batch_rows, len(self._waiting)))
        try:
            self._write(self._writing)
        except ROW_FAULTS as error:  # its text may hold values of a row
            self.error = type(error).__name__
            if len(self._writing) > 1:
                self._batch_rows = len(self._writing) // 2
                self._put_back()
                return True
            (prediction,) = self._writing
            self._writing = []
            self._count_lost(1)
            request_id = prediction.request_id
            log.error("prediction %s cannot be written and is dropped: %s", request_id, self.error)
            return True
        except Exception as error:
            self._put_back()
            self.error = type(error).__name__
            if isinstance(error, OUTSIDE_FAULTS):
                log.warning("predictions wait for Postgres: %s", self.error)
            else:
                log.exception("predictions wait: writing them failed")
            return False
        self._metrics.counter("readmit_log_written_total").inc(len(self._writing))
        self._writing = []
        self._batch_rows = min(BATCH_ROWS, 2 * self._batch_rows)
        self.error = None
        return True

    def _put_back(self) -> None:
        """Return the rows that are being written to the head of the queue."""
        with self._lock:
            self._waiting.extendleft(reversed(self._writing))
            self._writing = []

    def _count_lost(self, n_rows: int) -> None:
        self._metrics.counter("readmit_log_lost_total").inc(n_rows)

    def _take(self, n_rows: int) -> list[LoggedPrediction]:
        """Remove and return the oldest rows; the lock is held."""
        return [self._waiting.popleft() for _ in range(n_rows)]

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.flush()
            self._metrics.gauge("readmit_log_waiting").set(self.waiting)
        self.flush()
        self._disconnect()

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
