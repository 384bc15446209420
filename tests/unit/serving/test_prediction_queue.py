"""The queue of the prediction log, without Postgres: faults, and the end of the process."""

import threading
import time

from psycopg2.errors import DiskFull

from serving import prediction_log
from serving.instruments import Metrics
from serving.prediction_log import PredictionLog
from tests.support.services import wait_until
from tests.support.serving import settings

EMPTIED = "readmit_log_emptied_timestamp_seconds"


def test_an_unexpected_fault_does_not_end_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_log, "EVERY_SECONDS", 0.01)
    faults = [
        RuntimeError("nobody expected this"),
        MemoryError(),
        DiskFull("could not extend file"),
    ]
    written = []

    def write(rows):
        if faults:
            raise faults.pop()
        written.extend(rows)

    log = PredictionLog(settings(tmp_path), Metrics(), write=write)
    log.start()
    log.add([(1,), (2,)])
    wait_until(lambda: written == [(1,), (2,)], "the rows are written", 5)
    log.stop()


def test_the_end_of_the_process_waits_for_a_write_that_hangs_no_longer_than_it_may(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(prediction_log, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(prediction_log, "STOP_SECONDS", 0.5)
    hangs = threading.Event()
    metrics = Metrics()
    log = PredictionLog(settings(tmp_path), metrics, write=lambda _: hangs.wait(30))
    log.start()
    log.add([(1,), (2,)])
    wait_until(lambda: log._writing, "the write is under way", 5)
    assert log.waiting == 2
    began = time.monotonic()
    log.stop()
    assert time.monotonic() - began < 2
    assert metrics.counter("readmit_log_lost_total")._value.get() == 2
    hangs.set()


def test_the_log_says_since_when_predictions_wait(tmp_path):
    is_away = [True]

    def write(_):
        if is_away:
            raise ConnectionError

    metrics = Metrics()
    log = PredictionLog(settings(tmp_path), metrics, write=write)
    log.flush()
    emptied_at = metrics.gauge(EMPTIED)._value.get()
    assert time.time() - emptied_at < 5
    log.add([(1,)])
    log.flush()
    assert metrics.gauge(EMPTIED)._value.get() == emptied_at
    is_away.clear()
    log.flush()
    assert metrics.gauge(EMPTIED)._value.get() > emptied_at
