"""`year_*`: how large each store is after a year, with the real housekeeping at each month's end.

A year of 100,000 predictions a day, an hourly run with nothing new, a batch and a training a week.
Time does not pass: rows carry dates of the past, and the housekeeping is given the time of each
month. The object store dates objects itself, so its answers are dated anew by the day in the key.
One prediction of `SAMPLE` is written, and the size is multiplied; one log of an idle run of
`LOG_SAMPLE`, as large as all of them. Before the year lies the time that predictions are kept, so
the year ends as all later ones.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg2.extras import execute_values

from bench import private_services, year_of_trainings
from bench.dated_objects import dated_by_key, objects_below
from bench.figure import CannotMeasure, Figure
from bench.made_up_rows import make_rows
from readmit import db, storage
from readmit.contract.definition import Contract
from readmit.ops import prediction_archive, retention
from readmit.settings import (
    ROOT,
    ArchiveSettings,
    RetentionSettings,
    StackSettings,
)
from stack import temporary_services

DAYS = 365
MONTH = timedelta(days=30.5)
PREDICTIONS_A_DAY = 100_000
SAMPLE = 1_000  # one prediction of so many is written
LOG_SAMPLE = 6  # one log of an idle run of so many is written, as large as all of them
N_KINDS = 10_000  # different rows of features: more than a month has, which would compress too well
LOG_KB = 4  # of a task that finds nothing to do
TASKS_OF_IDLE_RUN = 17  # rows in Airflow's tables; all but the first are skipped
TASKS_THAT_RUN = 2
LOGS_OF_BATCH = 17
PAGE_KB = 60
PREDICTIONS = """
    insert into ops.predictions (
        request_id, predicted_at, model_name, model_version, run_id, contract_hash, features,
        probability, risk, threshold, patient_nbr, encounter_id, history, caller, is_clinical,
        calls_per_100, capacity_risk
    )
    select
        gen_random_uuid(), %(first)s::timestamptz + n * interval '1 second' * 86400 / %(a_day)s,
        'readmission', '12', md5('run'), md5('contract') || md5('contract'), kinds.features,
        0.1 + (n %% 100) / 200.0, 'low', 0.5, (100000000 + n * 7919 %% 70000)::text,
        200000000 + n, 'found', 'ward', true, 10, 'low'
    from generate_series(0, %(a_day)s * %(days)s - 1) as n
    join kinds on kind = n %% %(kinds)s
"""
AIRFLOW_RUN = """
    insert into dag_run (dag_id, run_id, run_type, run_after, logical_date, start_date, end_date,
        state, queued_at, data_interval_start, data_interval_end)
    select 'ingest_batch', 'scheduled__' || hour, 'scheduled', hour, hour, hour, hour, 'success',
        hour, hour, hour
    from generate_series(%(first)s::timestamptz, %(last)s, interval '1 hour') as hour;
    insert into task_instance (id, task_id, dag_id, run_id, try_number, pool, pool_slots, state,
        start_date, end_date, operator, hostname, queue, executor_config, updated_at)
    select gen_random_uuid(), 'a_task_of_the_build_' || task, 'ingest_batch',
        'scheduled__' || hour, 1, 'default_pool', 1,
        case when task > 2 then 'skipped' else 'success' end,
        hour, hour, '_PythonDecoratedOperator', 'a-machine', 'default', repeat('x', 90)::bytea, hour
    from generate_series(%(first)s::timestamptz, %(last)s, interval '1 hour') as hour,
        generate_series(1, %(tasks)s) as task;
    insert into log (dttm, event, dag_id, task_id, run_id, owner, extra, logical_date, try_number)
    select hour, 'success', 'ingest_batch', 'a_task_of_the_build', 'scheduled__' || hour,
        'airflow', repeat('x', 80), hour, 1
    from generate_series(%(first)s::timestamptz, %(last)s, interval '1 hour') as hour,
        generate_series(1, %(events)s);
    insert into xcom (dag_run_id, task_id, key, dag_id, run_id, timestamp, value, map_index)
    select id, 'a_task_of_the_build_1', 'return_value', dag_id, run_id, run_after, 'true', -1
    from dag_run where run_after between %(first)s and %(last)s
"""


# Seconds of each part that was measured.
SECONDS: dict[str, float] = {}


def part(measure: Callable[[StackSettings], list[Figure]]) -> Callable[[], list[Figure]]:
    """Return the measurement of a part, which has databases of its own and takes its time."""

    def run() -> list[Figure]:
        began = time.monotonic()
        with TemporaryDirectory() as folder:
            figures = measure(temporary_services.fresh(Path(folder)))
        SECONDS[measure.__name__] = time.monotonic() - began
        return figures

    return run


def minutes() -> list[Figure]:
    """Add up the parts."""
    if len(SECONDS) < N_PARTS:
        raise CannotMeasure("name all figures that begin with year_")
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in SECONDS.items())
    return [Figure("year_minutes", sum(SECONDS.values()) / 60, "min", "<= 20", parts)]


def predictions(settings: StackSettings) -> list[Figure]:
    """Let predictions arrive for the time that they are kept and a year, and archive each month."""
    archive = ArchiveSettings(**settings.model_dump(include=set(ArchiveSettings.model_fields)))
    n_kept = archive.readmit_prediction_retention_days
    end = datetime.now(UTC)
    day = end - timedelta(days=n_kept + DAYS)
    a_day = PREDICTIONS_A_DAY // SAMPLE
    # Rows of features as the API logs them, of which predictions are made.
    private_services.dbt(settings, "parse", "--target-path", str(settings.readmit_home))
    contract = Contract.from_manifest(settings.readmit_home / "manifest.json")
    names = [feature.name for feature in (*contract.inputs, *contract.history)]
    rows = make_rows(contract, N_KINDS)[names].astype(object).to_dict("records")
    features = [(number, json.dumps(row, default=float)) for number, row in enumerate(rows)]
    with db.transaction("postgres", settings.clean_database, settings) as clean:
        cur = clean.cursor()
        cur.execute("create table kinds (kind int primary key, features jsonb)")
        execute_values(cur, "insert into kinds values %s", features)
    n_archived = 0
    while day < end:
        days = min(MONTH, end - day).days
        arguments = {"first": day, "a_day": a_day, "days": days, "kinds": N_KINDS}
        _execute(settings, settings.clean_database, PREDICTIONS, arguments)
        day += timedelta(days=max(days, 1))
        n_archived += sum(prediction_archive.archive(archive, day).values())
        _vacuum(settings, settings.clean_database, "ops.predictions")
    query = "select count(*), pg_total_relation_size('ops.predictions') from ops.predictions"
    [(n_rows, n_bytes)] = _execute(settings, settings.clean_database, query)
    table_gb = n_bytes * SAMPLE / 1e9
    # A month is archived when all of it is too old.
    limit_gb = (n_kept + 62) * PREDICTIONS_A_DAY * 2_200 / 1e9
    detail = (
        f"{n_bytes / n_rows:.0f} bytes a prediction with its indexes; {n_rows * SAMPLE / 1e6:.0f}"
        f" million of {n_kept} days and up to a month"
    )
    archived_bytes = sum(
        size for _, size in objects_below("archives/", settings.s3_pipeline_bucket, settings)
    )
    archive_gb = archived_bytes * SAMPLE / 1e9
    a_year = f"{archived_bytes / n_archived:.0f} bytes a prediction as Parquet, {DAYS} days"
    return [
        Figure("year_predictions_gb", table_gb, "GB", f"<= {limit_gb:.0f}", detail),
        Figure("year_archive_gb", archive_gb, "GB", "<= 20", a_year),
    ]


def objects(settings: StackSettings) -> list[Figure]:
    """Write the logs and pages of each month, and delete what is too old at its end."""
    keys = RetentionSettings(**settings.model_dump(include=set(RetentionSettings.model_fields)))
    end = datetime.now(UTC)
    first = end - timedelta(days=DAYS)
    largest = {"logs/": 0, "docs/": 0}
    with dated_by_key(), ThreadPoolExecutor(8) as pool:
        s3 = storage.client("admin", settings)

        def put(entry: tuple[str, int]) -> None:
            key, kilobytes = entry
            body = os.urandom(kilobytes * 1_000)
            s3.put_object(Bucket=settings.s3_pipeline_bucket, Key=key, Body=body)

        for month in range(12):
            days = range(round(month * DAYS / 12), round((month + 1) * DAYS / 12))
            written: list[tuple[str, int]] = []
            for number in days:
                written += _objects_of(first + timedelta(days=number), number)
            list(pool.map(put, written))
            retention.expire_objects(keys, first + timedelta(days=days[-1] + 1))
            for prefix, n_bytes in largest.items():
                listed = objects_below(prefix, settings.s3_pipeline_bucket, settings)
                largest[prefix] = max(n_bytes, sum(size for _, size in listed))
    log_days = keys.readmit_log_retention_days
    page_days = keys.readmit_page_retention_days
    # A month is written before it is cleaned, so 31 days more than are kept.
    a_day = (24 * TASKS_THAT_RUN + LOGS_OF_BATCH / 7 + 1) * LOG_KB / 1e3
    pages_a_day = (2 / 7 + 1) * PAGE_KB / 1e3
    logs = f"{TASKS_THAT_RUN} logs an hour and {LOGS_OF_BATCH} a batch, {log_days} days are kept"
    pages = f"a page a day and two a batch, {page_days} days are kept: nothing went yet"
    logs_goal = f"<= {(log_days + 31) * a_day:.1f}"
    pages_goal = f"<= {page_days * pages_a_day:.0f}"
    return [
        Figure("year_logs_mb", largest["logs/"] / 1e6, "MB", logs_goal, logs),
        Figure("year_pages_mb", largest["docs/"] / 1e6, "MB", pages_goal, pages),
    ]


def _objects_of(day: datetime, number: int) -> Iterator[tuple[str, int]]:
    """Yield key and kilobytes of what a day writes; each seventh has a batch."""
    for hour in range(0, 24, LOG_SAMPLE):
        for task in range(TASKS_THAT_RUN):
            yield f"logs/dag_id=ingest_batch/{day:%Y-%m-%d}/{hour}/{task}.log", LOG_KB * LOG_SAMPLE
    yield f"docs/drift/{day:%Y-%m-%d}/index.html", PAGE_KB
    if number % 7 == 0:
        for task in range(LOGS_OF_BATCH):
            yield f"logs/dag_id=ingest_batch/{day:%Y-%m-%d}/batch/{task}.log", LOG_KB
        for gate in ("raw", "publish"):
            yield f"docs/gx/{day:%Y-%m-%d}/{gate}.html", PAGE_KB


def airflow_tables(settings: StackSettings) -> list[Figure]:
    """Let Airflow write down an idle run each hour, and clean its tables each month."""
    environment = temporary_services.environment(settings) | {
        "AIRFLOW_HOME": str(settings.readmit_home / "airflow"),
        "PGPASSWORD": db.password("airflow", settings),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://airflow@{settings.postgres_host}:{settings.postgres_port}/airflow"
        ),
    }
    command = [sys.executable, "-m", "airflow", "db"]

    def airflow(*arguments: str) -> None:
        subprocess.run(
            [*command, *arguments], env=environment, cwd=ROOT, check=True, capture_output=True
        )

    airflow("migrate")
    end = datetime.now(UTC)
    first = end - timedelta(days=DAYS)
    largest = 0
    for month in range(6):  # six cleanings of two months: each takes seconds to import
        began = first + timedelta(days=month * DAYS / 6)
        last = began + timedelta(days=DAYS / 6, hours=-1)
        arguments = {
            "first": began,
            "last": last,
            "tasks": TASKS_OF_IDLE_RUN,
            "events": 2 * TASKS_THAT_RUN + 1,
        }
        _execute(settings, "airflow", AIRFLOW_RUN, arguments)
        kept = settings.readmit_run_retention_days
        before = last - timedelta(days=kept)
        airflow("clean", "--yes", "--skip-archive", "--clean-before-timestamp", before.isoformat())
        _vacuum(settings, "airflow")
        [(n_bytes,)] = _execute(settings, "airflow", "select pg_database_size('airflow')")
        largest = max(largest, n_bytes)
    detail = f"{TASKS_OF_IDLE_RUN} task rows an hour, {kept} days are kept"
    return [Figure("year_airflow_mb", largest / 1e6, "MB", "<= 250", detail)]


def _execute(
    settings: StackSettings,
    database: str,
    statement: str,
    arguments: Mapping[str, object] | None = None,
) -> list[tuple[int, ...]]:
    with db.transaction("postgres", database, settings) as connection, connection.cursor() as cur:
        cur.execute(statement, arguments)
        return cur.fetchall() if cur.description else []


def _vacuum(settings: StackSettings, database: str, table: str = "") -> None:
    """Give the room of deleted rows free, as Postgres does by itself within a minute."""
    with closing(db.connect("postgres", database, settings)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"vacuum analyze {table}")


def trainings(settings: StackSettings) -> list[Figure]:
    """Train once a week, and remove what no version names."""
    return year_of_trainings.measure(settings, datetime.now(UTC), DAYS)


N_PARTS = 4
MEASURES = {
    ("year_predictions_gb", "year_archive_gb"): part(predictions),
    ("year_logs_mb", "year_pages_mb"): part(objects),
    ("year_airflow_mb",): part(airflow_tables),
    ("year_mlflow_runs",): part(trainings),
    ("year_minutes",): minutes,
}
