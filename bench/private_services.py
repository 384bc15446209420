"""Databases of the bench's own, with a registered source: the sample, or a file.

Nothing of the running stack is touched.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec

from readmit import db
from readmit.contract.definition import PROJECT
from readmit.intake import sample, sources
from readmit.settings import StackSettings
from stack import temporary_services

# The split gives 70 of 100 patients to train.
SHARE_OF_TRAIN = 0.7
# Patients are drawn, so a few more rows than needed.
RESERVE = 1.05

P = ParamSpec("P")


@dataclass(frozen=True)
class Batch:
    """A slice of the train split, and its object in the store."""

    batch_id: str
    object_key: str


@contextmanager
def databases(
    n_batches: int, batch_size: int = 15_000, dataset: str | None = None
) -> Iterator[StackSettings]:
    """Give settings with two new databases, and a registered source.

    The source is `dataset`, or else a sample with at least `n_batches` train batches.
    """
    with TemporaryDirectory() as folder:
        if dataset is None:
            dataset = str(Path(folder) / "sample.csv")
            n_rows = round(n_batches * batch_size / SHARE_OF_TRAIN * RESERVE)
            sample.write_csv(Path(dataset), n_rows)
        settings = temporary_services.fresh(Path(folder), batch_size=batch_size, dataset=dataset)
        sources.ensure_source(settings)
        yield settings


def train_batches(settings: StackSettings) -> list[Batch]:
    """Return the batches of the train split, in order."""
    query = "select batch_id, object_key from landing.slices where split = 'train' order by ordinal"
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(query)
        return [Batch(*row) for row in cur.fetchall()]


def dbt_build(settings: StackSettings) -> None:
    """Run `dbt build` on the batch whose build has begun, as the pipeline does."""
    dbt(settings, "build", "--exclude-resource-type", "unit_test")


def dbt(settings: StackSettings, *arguments: str, project: Path = PROJECT) -> None:
    """Run a command of dbt on our project, or on a copy of it."""
    program = str(Path(sys.executable).parent / "dbt")
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    command = [program, *arguments, *folders]
    environment = temporary_services.environment(settings)
    with TemporaryDirectory() as log_folder:
        environment["DBT_LOG_PATH"] = log_folder
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def seconds(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    """Return the wall time of a call."""
    started = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - started
