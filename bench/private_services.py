"""A Postgres and an S3 of the bench's own, with batches of the sample loaded: nothing of the stack is touched."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from readmit import db
from readmit.intake import sample, sources
from readmit.settings import ROOT, StackSettings
from tests.support import services

# The split gives 70 of 100 patients to train.
SHARE_OF_TRAIN = 0.7


@contextmanager
def databases(n_batches: int, batch_size: int = 15_000) -> Iterator[StackSettings]:
    """Give settings with two new databases, and a registered source of at least `n_batches` train batches."""
    with TemporaryDirectory() as folder:
        source = Path(folder) / "sample.csv"
        sample.write_csv(source, round(n_batches * batch_size / SHARE_OF_TRAIN * 1.05))
        settings = services.fresh(Path(folder), batch_size=batch_size, dataset=str(source))
        sources.ensure_source(settings)
        yield settings


def train_batches(settings: StackSettings) -> list[tuple[str, str]]:
    """Return the id and the object of each train batch, in order."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id, object_key from landing.slices where split = 'train' order by ordinal"
        )
        return [(str(batch_id), str(key)) for batch_id, key in cur.fetchall()]


def dbt_build(settings: StackSettings) -> None:
    """Run `dbt build` on the batch whose build has begun, as the pipeline does."""
    project = str(ROOT / "dbt_project")
    command = [
        str(Path(sys.executable).parent / "dbt"),
        "build",
        "--exclude-resource-type",
        "unit_test",
    ]
    command += ["--project-dir", project, "--profiles-dir", project]
    with TemporaryDirectory() as folder:
        told = services.environment(settings) | {"DBT_LOG_PATH": folder}
        subprocess.run(command, env=told, check=True, stdout=subprocess.DEVNULL)


def seconds(run: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
