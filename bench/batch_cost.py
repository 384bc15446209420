"""`batch_cost_100x`: cost of a batch with 10 million rows already there over the cost of one with 100,000.

The rows that are there are copies of a published batch under other patients, stays and batch ids, made in SQL in RAW,
staging and features, without indexes, which are built again before anything is timed. Batches are then loaded, gated,
built by dbt, gated again and published. The median wall time is the figure; processor time, memory and disk of that
batch stand in the detail. Needs 20 GB of free disk and a quarter of an hour.
"""

import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import psutil
from psycopg2.extensions import cursor

from bench import private_services
from bench.figure import CannotMeasure, Figure
from expectations import gate
from readmit import db
from readmit.batches import builds, loading
from readmit.settings import StackSettings

BATCH = 15_000
SIZES = (100_000, 1_000_000, 10_000_000)
REPEATS = 3  # batches per size
DISK_GB = 20
Growing = tuple[str, str, dict[str, str]]  # database, table, what makes a copy another one
GROWING: tuple[Growing, ...] = (
    (
        "raw",
        "landing.encounters",
        {"_batch_id": "'fill-' || n", "encounter_id": "n || encounter_id"},
    ),
    (
        "raw",
        "landing.batches",
        {"batch_id": "'fill-' || n", "ordinal": "1000 + n", "content_sha256": "md5(n::text)"},
    ),
    (
        "clean",
        "staging.stg_uci__encounters",
        {"_batch_id": "'fill-' || n", "_build_id": "'fill-' || n"},
    ),
    (
        "clean",
        "intermediate.int_encounters__features",
        {"_batch_id": "'fill-' || n", "_build_id": "'fill-' || n"},
    ),
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
    with private_services.databases(len(sizes) * REPEATS + 1, BATCH) as settings:
        batches = iter([batch_id for batch_id, _ in private_services.train_batches(settings)])
        _publish(settings, first := next(batches), 0)  # creates dbt's tables, warms everything up
        made, medians = 0, []
        for size in sizes:
            made = _grow(settings, first, made, size // BATCH)
            costs = [_publish(settings, next(batches), size) for _ in range(REPEATS)]
            medians.append(sorted(costs, key=lambda cost: cost.wall)[REPEATS // 2])
            print(medians[-1], flush=True)
    ratio = medians[-1].wall / medians[0].wall
    return [Figure("batch_cost_100x", ratio, "ratio", "<= 1.3", "; ".join(map(str, medians)))]


def _grow(settings: StackSettings, batch_id: str, made: int, wanted: int) -> int:
    """Copy the batch until there are `wanted` copies, two tables at a time; returns how many there are."""
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda growing: _copies(settings, growing, batch_id, (made + 1, wanted)), GROWING
            )
        )
    with (
        closing(db.connect("postgres", "postgres", settings)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        cur.execute("checkpoint")
    return wanted


def _copies(
    settings: StackSettings, growing: Growing, batch_id: str, numbers: tuple[int, int]
) -> None:
    database, table, changed = growing
    with closing(
        db.connect("postgres", getattr(settings, f"{database}_database"), settings)
    ) as known:
        with known, known.cursor() as cur:
            cur.execute("set synchronous_commit = off; set maintenance_work_mem = '512MB'")
            removed, made = _indexes(cur, table)
            for statement in removed:
                cur.execute(statement)
            _fill(cur, table, changed, batch_id, numbers)
            for statement in made:
                cur.execute(statement)
        known.autocommit = True
        with known.cursor() as cur:
            cur.execute(f"vacuum analyze {table}")


def _indexes(cur: cursor, table: str) -> tuple[list[str], list[str]]:
    """Return the statements that remove the indexes of a table, and those that make them again."""
    cur.execute(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname, pg_get_constraintdef(c.oid)"
        " from pg_index as i left join pg_constraint as c on c.conindid = i.indexrelid where i.indrelid = %s::regclass",
        (table,),
    )
    found = cur.fetchall()
    removed = [
        f"alter table {table} drop constraint {con}" if con else f"drop index {name}"
        for name, _, con, _ in found
    ]
    made = [
        f"alter table {table} add constraint {con} {rule}" if con else made
        for _, made, con, rule in found
    ]
    return removed, made


def _fill(
    cur: cursor, table: str, changed: dict[str, str], batch_id: str, numbers: tuple[int, int]
) -> None:
    """Insert the batch's rows once per number, each time as others."""
    cur.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", (table,)
    )
    columns = [str(row[0]) for row in cur.fetchall()]
    values = (OTHERS if table.startswith(("staging", "intermediate")) else {}) | changed
    if table == "landing.encounters":
        values |= {"patient_nbr": "n || patient_nbr"}
    chosen = ", ".join(values.get(name, name) for name in columns)
    key = "batch_id" if "batch_id" in columns else "_batch_id"
    cur.execute(
        f"create temp table base on commit drop as select * from {table} where {key} = %s",
        (batch_id,),
    )
    cur.execute(
        f"insert into {table} ({', '.join(columns)}) select {chosen} from base"
        " cross join generate_series(%s::bigint, %s::bigint) as n",
        numbers,
    )


def _publish(settings: StackSettings, batch_id: str, n_before: int) -> Cost:
    """Take a batch through all steps of a run, without Airflow."""
    before, disk = _processor(), _disk(settings)
    seconds = {"load": private_services.seconds(lambda: loading.load(batch_id, settings))}
    seconds["raw gate"] = private_services.seconds(lambda: gate.check_raw(batch_id, settings))
    builds.begin_build(batch_id, settings)
    seconds["dbt"] = private_services.seconds(lambda: private_services.dbt_build(settings))
    seconds["publish gate"] = private_services.seconds(
        lambda: gate.check_publish(batch_id, settings=settings)
    )
    seconds["publish"] = private_services.seconds(lambda: builds.publish(batch_id, settings))
    memory = (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1024
    )
    return Cost(n_before, seconds, _processor() - before, memory, (_disk(settings) - disk) / 1e6)


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


def _disk(settings: StackSettings) -> int:
    with db.transaction("postgres", "postgres", settings) as connection, connection.cursor() as cur:
        names = [settings.raw_database, settings.clean_database]
        cur.execute("select sum(pg_database_size(name)) from unnest(%s) as name", (names,))
        found = cur.fetchone()
    return int(found[0]) if found else 0


MEASURES = {("batch_cost_100x",): measure}
