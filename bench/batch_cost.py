"""`batch_cost_100x`.

Cost of a batch with 10 million earlier rows over the cost of one with 100,000.

The earlier rows are copies of a published batch under other patients, stays and batch ids, made in
SQL in RAW, staging and features, without indexes, which are built again before anything is timed.
Batches are then loaded, gated, built by dbt, gated again and published. The median wall time is the
figure; processor time, memory and disk of that batch stand in the detail. Needs 20 GB of free disk
and a quarter of an hour.
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
from readmit.batches import loading
from readmit.batches.builds import Build
from readmit.settings import StackSettings

BATCH_ROWS = 15_000
SIZES = (100_000, 1_000_000, 10_000_000)
REPEATS = 3  # batches per size
DISK_GB = 20


@dataclass(frozen=True)
class GrowingTable:
    """A table that holds a row per earlier row or batch.

    `batch_column` is the column with the batch id. `changes` are the SQL expressions that make copy
    number `n` of a row another row, by column.
    """

    database: str
    name: str
    batch_column: str
    changes: dict[str, str]


BATCH_ID = "'fill-' || n"
# Far from every number of the sample, and below the largest that a bigint holds.
OTHER_STAY = {
    "encounter_id": "encounter_id + n * 10000000000",
    "patient_nbr": "patient_nbr + n * 10000000000",
}
GROWING_TABLES = (
    GrowingTable(
        "raw",
        "landing.encounters",
        "_batch_id",
        {
            "_batch_id": BATCH_ID,
            "encounter_id": "n || encounter_id",
            "patient_nbr": "n || patient_nbr",
        },
    ),
    GrowingTable(
        "raw",
        "landing.batches",
        "batch_id",
        {"batch_id": BATCH_ID, "ordinal": "1000 + n", "content_sha256": "md5(n::text)"},
    ),
    GrowingTable(
        "clean",
        "staging.stg_uci__encounters",
        "_batch_id",
        {"_batch_id": BATCH_ID, "_build_id": BATCH_ID, **OTHER_STAY},
    ),
    GrowingTable(
        "clean",
        "intermediate.int_encounters__features",
        "_batch_id",
        {"_batch_id": BATCH_ID, "_build_id": BATCH_ID, **OTHER_STAY},
    ),
    GrowingTable(
        "clean",
        "ops.published_batches",
        "batch_id",
        {"batch_id": BATCH_ID, "build_id": BATCH_ID},
    ),
)
INDEXES = """
    select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname,
    pg_get_constraintdef(c.oid)
    from pg_index as i
    left join pg_constraint as c on c.conindid = i.indexrelid
    where i.indrelid = %s::regclass
"""


@dataclass(frozen=True)
class Index:
    """The statements that drop an index or constraint of a table and make it again."""

    drop: str
    create: str


@dataclass(frozen=True)
class Cost:
    """The cost of one batch: wall seconds by step, processor seconds, memory and disk."""

    n_before: int
    seconds: dict[str, float]
    processor_seconds: float
    memory_mb: float
    disk_mb: float

    @property
    def wall(self) -> float:
        return sum(self.seconds.values())

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        return (
            f"{self.n_before:,} rows before: {self.wall:.1f} s ({steps}), "
            f"processor {self.processor_seconds:.1f} s, memory {self.memory_mb:.0f} MB, "
            f"disk {self.disk_mb:.0f} MB"
        )


def measure(sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Cost of a batch at each size; the figure compares the largest with the smallest."""
    if sizes == SIZES and shutil.disk_usage("/tmp").free < DISK_GB * 1e9:
        raise CannotMeasure(f"needs {DISK_GB} GB of free disk")
    medians = []
    with private_services.databases(len(sizes) * REPEATS + 1, BATCH_ROWS) as settings:
        batches = private_services.train_batches(settings)
        batch_ids = iter([batch.batch_id for batch in batches])
        first = next(batch_ids)
        _publish(settings, first, 0)  # creates dbt's tables, warms everything up
        n_copies = 0
        for size in sizes:
            n_required = size // BATCH_ROWS
            _grow(settings, first, range(n_copies + 1, n_required + 1))
            n_copies = n_required
            costs = [_publish(settings, next(batch_ids), size) for _ in range(REPEATS)]
            costs.sort(key=lambda cost: cost.wall)
            medians.append(costs[REPEATS // 2])
            print(medians[-1], flush=True)
    ratio = medians[-1].wall / medians[0].wall
    detail = "; ".join(str(cost) for cost in medians)
    return [Figure("batch_cost_100x", ratio, "ratio", "<= 1.3", detail)]


def _grow(settings: StackSettings, batch_id: str, numbers: range) -> None:
    """Add a copy of the batch for each number, to two tables at a time."""
    with ThreadPoolExecutor(2) as pool:
        copies = [
            pool.submit(_add_copies, settings, table, batch_id, numbers) for table in GROWING_TABLES
        ]
        for copy in copies:
            copy.result()
    with (
        closing(db.connect("postgres", "postgres", settings)) as connection,
        connection.cursor() as cur,
    ):
        connection.autocommit = True
        cur.execute("checkpoint")


def _add_copies(
    settings: StackSettings, table: GrowingTable, batch_id: str, numbers: range
) -> None:
    databases = {"raw": settings.raw_database, "clean": settings.clean_database}
    with closing(db.connect("postgres", databases[table.database], settings)) as connection:
        with connection, connection.cursor() as cur:
            cur.execute("set synchronous_commit = off; set maintenance_work_mem = '512MB'")
            indexes = _indexes(cur, table.name)
            for index in indexes:
                cur.execute(index.drop)
            _insert_copies(cur, table, batch_id, numbers)
            for index in indexes:
                cur.execute(index.create)
        connection.autocommit = True
        with connection.cursor() as cur:
            cur.execute(f"vacuum analyze {table.name}")


def _indexes(cur: cursor, table: str) -> list[Index]:
    cur.execute(INDEXES, (table,))
    indexes = []
    for index_name, definition, constraint, rule in cur.fetchall():
        if constraint:
            drop = f"alter table {table} drop constraint {constraint}"
            create = f"alter table {table} add constraint {constraint} {rule}"
            indexes.append(Index(drop, create))
        else:
            indexes.append(Index(f"drop index {index_name}", definition))
    return indexes


def _insert_copies(cur: cursor, table: GrowingTable, batch_id: str, numbers: range) -> None:
    """Insert the batch's rows once per number, each time changed into others."""
    cur.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0",
        (table.name,),
    )
    columns = [str(row[0]) for row in cur.fetchall()]
    expressions = [table.changes.get(column, column) for column in columns]
    cur.execute(
        "create temp table base on commit drop as "
        f"select * from {table.name} where {table.batch_column} = %s",
        (batch_id,),
    )
    cur.execute(
        f"insert into {table.name} ({', '.join(columns)}) select {', '.join(expressions)} from base"
        " cross join generate_series(%s::bigint, %s::bigint) as n",
        (numbers.start, numbers.stop - 1),
    )


def _publish(settings: StackSettings, batch_id: str, n_before: int) -> Cost:
    """Take a batch through all steps of a run, without Airflow."""
    timed = private_services.seconds
    processor_before = _processor_seconds()
    disk_before = _disk_bytes(settings)
    seconds = {}
    seconds["load"] = timed(loading.load, batch_id, settings)
    seconds["raw gate"] = timed(gate.check_raw, batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    seconds["dbt"] = timed(private_services.dbt_build, settings)
    seconds["publish gate"] = timed(gate.check_publish, Build.of_batch(batch_id), settings=settings)
    seconds["publish"] = timed(Build.of_batch(batch_id).publish, settings)
    own_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dbt_memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Cost(
        n_before,
        seconds,
        processor_seconds=_processor_seconds() - processor_before,
        memory_mb=max(own_memory, dbt_memory) / 1024,
        disk_mb=(_disk_bytes(settings) - disk_before) / 1e6,
    )


def _processor_seconds() -> float:
    """Return the CPU seconds of this process and its children, ended ones included.

    Postgres and the object store are children.
    """
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _disk_bytes(settings: StackSettings) -> int:
    names = [settings.raw_database, settings.clean_database]
    with db.transaction("postgres", "postgres", settings) as connection, connection.cursor() as cur:
        cur.execute("select sum(pg_database_size(name)) from unnest(%s) as name", (names,))
        row = cur.fetchone()
    return int(row[0]) if row else 0


MEASURES = {("batch_cost_100x",): measure}
