"""`raw_load_vs_copy`: wall of loading a batch into RAW against `psql \\copy` of the same bytes into an equal table.

Both go to the same server; load fetches the batch from S3, checks its hash and writes the ledger in the same
transaction. Batches alternate, the figure is the ratio of the medians.
"""

import os
import statistics
import subprocess
from functools import partial
from pathlib import Path

from bench import private_services
from bench.figure import Figure
from readmit import db, storage
from readmit.batches import loading
from readmit.intake.layout import LANDING_COLUMNS
from readmit.settings import StackSettings
from stack.postgres import binary

REPEATS = 5
COLUMNS = ", ".join(("_batch_id", "_source_row", *LANDING_COLUMNS))


def measure() -> list[Figure]:
    """Load batches of 15,000 rows both ways."""
    with private_services.databases(REPEATS + 1) as settings:
        with (
            db.transaction("postgres", settings.raw_database, settings) as raw,
            raw.cursor() as cur,
        ):
            cur.execute("create table landing.copied (like landing.encounters including all)")
        loads, copies = [], []
        for batch_id, key in private_services.train_batches(settings)[: REPEATS + 1]:
            body = settings.readmit_home / f"{batch_id}.csv"
            storage.client(settings).download_file(settings.s3_pipeline_bucket, key, str(body))
            copies.append(private_services.seconds(partial(_psql_copy, settings, body)))
            loads.append(private_services.seconds(partial(loading.load, batch_id, settings)))
    # The first of each warms caches and connections up.
    load, copy = statistics.median(loads[1:]), statistics.median(copies[1:])
    detail = f"load {load:.3f} s, psql \\copy {copy:.3f} s, 15,000 rows, medians of {REPEATS}"
    return [Figure("raw_load_vs_copy", load / copy, "ratio", "<= 1.25", detail)]


def _psql_copy(settings: StackSettings, body: Path) -> None:
    psql = [str(binary("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    address = ["-h", settings.postgres_host, "-p", str(settings.postgres_port), "-U", "postgres"]
    copy = f"\\copy landing.copied ({COLUMNS}) from '{body}' with (format csv, force_not_null *)"
    subprocess.run(
        [*psql, *address, "-d", settings.raw_database, "-c", copy],
        env={**os.environ, "PGPASSWORD": db.password("postgres", settings)},
        check=True,
    )


MEASURES = {("raw_load_vs_copy",): measure}
