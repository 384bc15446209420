"""`batch_cost_100x`: cost of a batch with 10 million rows already there over the cost of one with 100,000.

The rows that are there are copies of a published batch under other patients, stays and batch ids, made in SQL in RAW,
staging and features. A batch is then loaded, gated, built by dbt, gated again and published. Wall time is the figure;
processor time, memory and disk stand in the detail. Needs about 30 GB of free disk and most of an hour.
"""

import resource
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench import private
from bench.figure import CannotMeasure, Figure
from expectations import gate
from readmit import db, ledger
from readmit.settings import ROOT, Settings
from tests.support import services

BATCH = 15_000
SIZES = (100_000, 1_000_000, 10_000_000)
DISK_GB = 30
CHUNK = 20  # copies per transaction
Growing = tuple[str, str, dict[str, str]]  # database, table, what makes a copy another one
GROWING: tuple[Growing, ...] = (
    ("raw", "landing.encounters", {"_batch_id": "'fill-' || n", "encounter_id": "n || encounter_id"}),
    ("raw", "landing.batches", {"batch_id": "'fill-' || n", "ordinal": "1000 + n", "content_sha256": "md5(n::text)"}),
    ("clean", "staging.stg_uci__encounters", {"_batch_id": "'fill-' || n", "_build_id": "'fill-' || n"}),
    ("clean", "intermediate.int_encounters__features", {"_batch_id": "'fill-' || n", "_build_id": "'fill-' || n"}),
    ("clean", "ops.published_batches", {"batch_id": "'fill-' || n", "build_id": "'fill-' || n"}),
)
# Far from every number of the sample, and below the largest that a bigint holds.
OTHERS = {name: f"{name} + n * 10000000000" for name in ("encounter_id", "patient_nbr")}


@dataclass(frozen=True)
class Cost:
    """What one batch took."""

    n_before: int
    seconds: dict[str, float]
    processor: float
    memory_mb: float
    disk_mb: float

    @property
    def wall(self) -> float:
        return sum(self.seconds.values())

    def __str__(self) -> str:
        phases = ", ".join(f"{name} {took:.1f} s" for name, took in self.seconds.items())
        used = f"processor {self.processor:.1f} s, memory {self.memory_mb:.0f} MB, disk {self.disk_mb:.0f} MB"
        return f"{self.n_before:,} rows before: {self.wall:.1f} s ({phases}), {used}"


def measure(sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Cost of a batch at each size; the figure compares the largest with the smallest."""
    if sizes == SIZES and shutil.disk_usage("/tmp").free < DISK_GB * 1e9:
        raise CannotMeasure(f"needs {DISK_GB} GB of free disk")
    with private.databases(len(sizes) + 1, BATCH) as settings:
        batches = [batch_id for batch_id, _ in private.train_batches(settings)]
        _publish(settings, batches[0], 0)  # creates dbt's tables, warms everything up
        made, costs = 0, []
        for size, batch_id in zip(sizes, batches[1:], strict=False):
            made = _grow(settings, batches[0], made, size // BATCH)
            costs.append(_publish(settings, batch_id, size))
    ratio = costs[-1].wall / costs[0].wall
    return [Figure("batch_cost_100x", ratio, "ratio", "<= 1.3", "; ".join(map(str, costs)))]


def _grow(settings: Settings, batch_id: str, made: int, wanted: int) -> int:
    """Copy the batch until there are `wanted` copies; returns how many there are."""
    for first in range(made + 1, wanted + 1, CHUNK):
        last = min(first + CHUNK - 1, wanted)
        for growing in GROWING:
            _copies(settings, growing, batch_id, (first, last))
    for database in ("raw", "clean"):
        with closing(db.connect("postgres", getattr(settings, f"{database}_database"), settings)) as connection:
            connection.autocommit = True
            with connection.cursor() as cur:
                cur.execute("vacuum analyze")
                cur.execute("checkpoint")
    return max(made, wanted)


def _copies(settings: Settings, growing: Growing, batch_id: str, numbers: tuple[int, int]) -> None:
    database, table, changed = growing
    name = getattr(settings, f"{database}_database")
    with db.transaction("postgres", name, settings) as known, known.cursor() as cur:
        cur.execute("select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", (table,))
        columns = [str(row[0]) for row in cur.fetchall()]
        values = (OTHERS if table.startswith(("staging", "intermediate")) else {}) | changed
        if table == "landing.encounters":
            values |= {"patient_nbr": "n || patient_nbr"}
        chosen = ", ".join(values.get(name, name) for name in columns)
        key = "batch_id" if "batch_id" in columns else "_batch_id"
        cur.execute(
            f"insert into {table} ({', '.join(columns)}) select {chosen} from {table}"
            f" cross join generate_series(%s::bigint, %s::bigint) as n where {key} = %s",
            (*numbers, batch_id),
        )


def _publish(settings: Settings, batch_id: str, n_before: int) -> Cost:
    """Take a batch through all steps of a run, without Airflow."""
    before, disk = _processor(), _disk(settings)
    seconds = {"load": private.seconds(lambda: ledger.load(batch_id, settings))}
    seconds["raw gate"] = private.seconds(lambda: gate.check_raw(batch_id, settings))
    ledger.begin_build(batch_id, settings)
    seconds["dbt"] = private.seconds(lambda: _dbt(settings))
    seconds["publish gate"] = private.seconds(lambda: gate.check_publish(batch_id, settings=settings))
    seconds["publish"] = private.seconds(lambda: ledger.publish(batch_id, settings))
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return Cost(n_before, seconds, _processor() - before, memory, (_disk(settings) - disk) / 1e6)


def _dbt(settings: Settings) -> None:
    project = str(ROOT / "dbt_project")
    command = [str(Path(sys.executable).parent / "dbt"), "build", "--exclude-resource-type", "unit_test"]
    with TemporaryDirectory() as folder:
        told = services.environment(settings) | {"DBT_LOG_PATH": folder}
        command += ["--project-dir", project, "--profiles-dir", project]
        subprocess.run(command, env=told, check=True, stdout=subprocess.DEVNULL)


def _processor() -> float:
    """Seconds of this process, what it started (Postgres and the object store too) and what has ended of that."""
    total = 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def _disk(settings: Settings) -> int:
    with db.transaction("postgres", "postgres", settings) as connection, connection.cursor() as cur:
        names = [settings.raw_database, settings.clean_database]
        cur.execute("select sum(pg_database_size(name)) from unnest(%s) as name", (names,))
        found = cur.fetchone()
    return int(found[0]) if found else 0


MEASURES = {("batch_cost_100x",): measure}
