"""Old months of predictions lie in the object store, and `make erase` reaches them there."""

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psycopg2
import pytest

from readmit import db, storage
from readmit.ops import erased_objects, prediction_archive
from readmit.ops.erased_rows import PatientRows
from readmit.settings import ArchiveSettings, StackSettings
from tests.support import kills, raw
from tests.support.services import keys_of_admin, wait_until

NOW = datetime(2026, 11, 27, tzinfo=UTC)
PREDICTION = """
    insert into ops.predictions (
        request_id, predicted_at, model_name, model_version, run_id, contract_hash, features,
        probability, risk, patient_nbr, encounter_id, history, is_clinical
    ) values (
        gen_random_uuid(), %s, 'm', '1', 'r', 'c', '{"age": "[70-80)"}', 0.25, 'low', %s, %s,
        'none', true
    )
"""


class Archives:
    """What `archive` needs of the stack's settings, and what it leaves behind."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings

    def run(self) -> dict[str, int]:
        values = {}
        for name in ArchiveSettings.model_fields:
            if hasattr(self.settings, name):
                values[name] = getattr(self.settings, name)
        return prediction_archive.archive(ArchiveSettings(**values), NOW)

    def frame(self, key: str) -> pd.DataFrame:
        s3 = storage.client("admin", self.settings)
        body = s3.get_object(Bucket=self.settings.s3_pipeline_bucket, Key=key)["Body"].read()
        return pd.read_parquet(io.BytesIO(body))

    def add(self, predicted_at: str, patient: str | None = None, stay: int | None = None) -> None:
        clean = self.settings.clean_database
        raw.query(self.settings, clean, PREDICTION, predicted_at, patient, stay, role="serving")

    def months(self) -> list[tuple[str, int]]:
        query = "select object_key, n_rows from ops.prediction_archives order by 1"
        return raw.query(self.settings, self.settings.clean_database, query)

    def n_waiting(self) -> int:
        query = (
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        [(n_runs,)] = raw.query(self.settings, self.settings.clean_database, query)
        return int(n_runs)

    def n_left(self) -> int:
        query = "select count(*) from ops.predictions"
        [(n_rows,)] = raw.query(self.settings, self.settings.clean_database, query)
        return int(n_rows)


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[Archives]:
    settings = raw.fresh(
        tmp_path, s3_pipeline_bucket=f"p{os.urandom(4).hex()}", **keys_of_admin("gates")
    )
    storage.ensure_buckets(settings)
    yield Archives(settings)
    s3 = storage.client("admin", settings)
    for entry in s3.list_objects_v2(Bucket=settings.s3_pipeline_bucket).get("Contents", []):
        s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=settings.s3_pipeline_bucket)


def test_whole_months_that_are_old_go_and_nothing_else(
    archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_archive, "ROWS_AT_ONCE", 2)
    for predicted_at in ("2025-08-31 23:59:59Z", "2025-09-01 00:00Z", "2025-09-30 23:59:59Z"):
        archives.add(predicted_at, "12", 7)
    archives.add("2025-09-15 12:00Z")
    for predicted_at in ("2025-10-01 00:00Z", "2026-11-01 00:00Z"):  # partly young, young
        archives.add(predicted_at)
    august, september = (
        f"{prediction_archive.ARCHIVES}2025-{month}-1.parquet" for month in ("08", "09")
    )
    assert archives.run() == {august: 1, september: 3}
    assert archives.months() == [(august, 1), (september, 3)]
    assert archives.n_left() == 2
    rows = archives.frame(september)
    assert list(rows["predicted_at"].dt.day) == [1, 15, 30]
    assert list(rows["patient_nbr"].fillna("")) == ["12", "", "12"]
    assert set(rows["features"]) == {'{"age": "[70-80)"}'}
    assert set(rows["probability"]) == {0.25}
    assert rows["is_clinical"].all()
    assert archives.run() == {}
    archives.add("2025-09-02 00:00Z")  # a clock that was wrong
    assert list(archives.run()) == [september.replace("-1.", "-2.")]


def test_an_archive_has_what_was_said_by_calls(archives: Archives) -> None:
    archives.add("2025-09-01 00:00Z")  # by an API of an older release
    statement = PREDICTION.replace("is_clinical\n", "is_clinical, calls_per_100, capacity_risk\n")
    statement = statement.replace("true\n", "true, 20, 'high'\n")
    clean = archives.settings.clean_database
    raw.query(archives.settings, clean, statement, "2025-09-02", "12", 7, role="serving")
    [key] = archives.run()
    rows = archives.frame(key).astype({"calls_per_100": "Int32"})
    assert list(rows["calls_per_100"].fillna(0)) == [0, 20]
    assert list(rows["capacity_risk"].fillna("")) == ["", "high"]


def test_what_the_store_lost_stays_in_postgres(
    archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.add("2025-09-01 00:00Z")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: hashlib.sha256(b"other bytes"))
    with pytest.raises(prediction_archive.ArchiveDamaged):
        archives.run()
    assert archives.n_left() == 1
    assert archives.months() == []


@pytest.mark.parametrize(
    ("month", "n_rows", "problem"),
    [("2025-09-01", 2, "the archive has 2"), ("2099-01-01", 0, "too young")],
)
def test_no_month_is_dropped_that_is_not_archived(
    archives: Archives, month: str, n_rows: int, problem: str
) -> None:
    archives.add("2025-09-01 00:00Z")
    drop = "select ops.drop_archived_predictions(%s, 'key', %s)"
    clean = archives.settings.clean_database
    with pytest.raises(psycopg2.errors.RaiseException, match=problem):
        raw.query(archives.settings, clean, drop, month, n_rows, role="publisher")
    assert archives.n_left() == 1


def test_a_month_is_archived_once_wherever_the_run_was_killed(archives: Archives) -> None:
    """Killed with the object written and the rows there; then with the rows deleted, uncommitted."""
    for day in ("01", "02"):
        archives.add(f"2025-09-{day} 00:00Z")
    kills.run_until(prediction_archive.os, "sync", archives.run)
    archives.add("2025-09-03 00:00Z")
    kills.run_until_commit(prediction_archive, archives.run, n_transactions=2)
    assert archives.n_left() == 3
    assert archives.months() == []
    [key] = archives.run()
    assert archives.n_left() == 0
    assert archives.months() == [(key, 3)]
    assert len(archives.frame(key)) == 3


def test_two_runs_do_not_replace_an_archive_by_an_empty_one(archives: Archives) -> None:
    """A task that Airflow took for dead goes on beside its retry: both list the month."""
    archives.add("2025-09-01 00:00Z")
    with ThreadPoolExecutor() as pool:
        with prediction_archive.locked(archives.settings):
            runs = [pool.submit(archives.run) for _ in range(2)]
            wait_until(lambda: archives.n_waiting() == 2, "the runs do not wait for the lock")
        keys = [key for run in runs for key in run.result()]
    assert len(keys) == 1
    assert archives.months() == [(keys[0], 1)]
    assert len(archives.frame(keys[0])) == 1


def test_a_full_disk_leaves_the_month_in_postgres(
    archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.add("2025-09-01 00:00Z")
    with monkeypatch.context() as patch:
        (tmp_path / "month.parquet").symlink_to("/dev/full")
        patch.setattr(prediction_archive, "TemporaryDirectory", lambda: nullcontext(tmp_path))
        with pytest.raises(OSError, match="No space left"):
            archives.run()
    assert archives.n_left() == 1
    assert archives.months() == []
    assert len(archives.run()) == 1


@pytest.mark.parametrize("role", ["transformer", "serving", "reader", "trainer"])
def test_nobody_else_may_drop_predictions(archives: Archives, role: db.Role) -> None:
    drop = "select ops.drop_archived_predictions('2025-09-01', 'key', 0)"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        raw.query(archives.settings, archives.settings.clean_database, drop, role=role)


def test_an_erased_patient_is_in_no_archive(archives: Archives) -> None:
    archives.add("2025-08-01 00:00Z", " 0012")
    archives.add("2025-08-02 00:00Z", None, 7)
    archives.add("2025-08-03 00:00Z", "13", 8)
    archives.add("2025-08-04 00:00Z")
    archives.add("2025-09-01 00:00Z", "13", 8)
    august, september = archives.run()
    rows = PatientRows("12", ["b"], [1], [7])
    assert erased_objects.erase_archives(rows, archives.settings) == 2
    assert list(archives.frame(august)["patient_nbr"].fillna("")) == ["13", ""]
    assert archives.months() == [(august, 2), (september, 1)]
    assert erased_objects.erase_archives(rows, archives.settings) == 0
