"""`raw_load_vs_copy`.

Seconds to load a batch into RAW over `psql \\copy` of the same bytes into an equal table.

Both go to the same server. Loading fetches the batch from S3, checks its hash and writes the ledger
in the same transaction. Batches alternate; the figure is the ratio of the medians.
"""

import os
import statistics
import subprocess
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
    load_seconds = []
    copy_seconds = []
    with private_services.databases(REPEATS + 1) as settings:
        with (
            db.transaction("postgres", settings.raw_database, settings) as raw,
            raw.cursor() as cur,
        ):
            cur.execute("create table landing.copied (like landing.encounters including all)")
        client = storage.client("admin", settings)
        for batch in private_services.train_batches(settings)[: REPEATS + 1]:
            file = settings.readmit_home / f"{batch.batch_id}.csv"
            client.download_file(settings.s3_pipeline_bucket, batch.object_key, str(file))
            copy_seconds.append(private_services.seconds(_psql_copy, settings, file))
            load_seconds.append(private_services.seconds(loading.load, batch.batch_id, settings))
    # The first of each warms caches and connections up.
    load = statistics.median(load_seconds[1:])
    copy = statistics.median(copy_seconds[1:])
    detail = f"load {load:.3f} s, psql \\copy {copy:.3f} s, 15,000 rows, medians of {REPEATS}"
    return [Figure("raw_load_vs_copy", load / copy, "ratio", "<= 1.25", detail)]


def _psql_copy(settings: StackSettings, file: Path) -> None:
    copy = f"\\copy landing.copied ({COLUMNS}) from '{file}' with (format csv, force_not_null *)"
    psql = [str(binary("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy]
    psql += ["-h", settings.postgres_host, "-p", str(settings.postgres_port)]
    psql += ["-U", "postgres", "-d", settings.raw_database]
    environment = os.environ | {"PGPASSWORD": db.password("postgres", settings)}
    subprocess.run(psql, env=environment, check=True)


MEASURES = {("raw_load_vs_copy",): measure}
