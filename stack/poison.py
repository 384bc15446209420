"""`make poison`: submit a bad batch to the running stack, and show how it is rejected.

Waiting batches are published and trained on first. Then a valid CSV file is submitted, in which
every fifth age is not an age band: the raw gate must reject its batch. Nothing that is published
may change. The mart, the quarantine and the model in production are compared before and after.
"""

import csv
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg2
from rich.table import Table
from rich.text import Text

from readmit import db
from readmit.command import explained
from readmit.errors import BadData
from readmit.inherited_environment import forget_the_shell
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from stack import pipeline
from stack.airflow_api import Airflow, AirflowFailed
from stack.configuration import stack_settings
from stack.outcomes import count_published
from stack.progress import Progress

ROWS = 1500
EVERY = 5
BAD_AGE = "[70-75)"
# Batches that others submit meanwhile are processed before ours.
MOST_RUNS = 20


@dataclass(frozen=True)
class Published:
    """What is published at one time."""

    rows_in_mart: int
    batches: int
    rows_in_quarantine: int
    production_model: str


@dataclass(frozen=True)
class Poisoned:
    """The outcome of the bad batch."""

    batch_id: str
    status: str
    reason: str
    rows_in_raw: int
    run_id: str
    red_task: str


def published(settings: StackSettings) -> Published:
    """Return what is published now."""
    query = (
        "select (select count(*) from marts.fct_encounter_features),"
        " (select count(*) from ops.published_batches),"
        " (select count(*) from quarantine.encounters where released_at is null)"
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query)
        [(rows_in_mart, batches, rows_in_quarantine)] = cur.fetchall()
    model = pipeline.in_production(settings) or "none"
    return Published(int(rows_in_mart), int(batches), int(rows_in_quarantine), model)


def write_poison(path: Path, seed: int, batch_size: int) -> None:
    """Write a CSV file of synthetic stays that makes one batch; every fifth age is not an age band.

    Args:
        path: the file.
        seed: another seed gives other stays.
        batch_size: number of rows of the batch.
    """
    sample.write_csv(path, ROWS, seed)
    with path.open(newline="", encoding="ascii") as file:
        rows = [row for row in csv.DictReader(file) if split_of(row["patient_nbr"]) == "train"]
    rows = rows[:batch_size]
    for row in rows[::EVERY]:
        row["age"] = BAD_AGE
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def settle(airflow: Airflow, settings: StackSettings, progress: Progress) -> None:
    """Publish the waiting batches and train, since they would change the figures that are compared.

    Raises:
        AirflowFailed: a run failed, or no model is in production.
    """
    with progress.phase("publishing the waiting batches"):
        outcomes = pipeline.publish_waiting(airflow, settings, progress.show)
    if airflow.active(pipeline.TRAIN):
        progress.console.print(
            "A training runs. Its model would change what is compared before and after the bad"
            " batch, so the bad batch waits until that training has ended."
        )
    with progress.phase("training"):
        run_id = pipeline.train(airflow, settings, progress.show, count_published(outcomes))
    if run_id is not None:
        with progress.phase("sealed test and learning curve"):
            pipeline.finish_training(airflow, run_id, progress.show)


def poison(airflow: Airflow, settings: StackSettings, progress: Progress) -> Poisoned:
    """Submit a bad file and run the pipeline until there is a verdict on its batch.

    Raises:
        AirflowFailed: there is no verdict, or Airflow does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poison.csv"
        write_poison(path, seed=int(time.time()), batch_size=settings.batch_size)
        source = sources.submit(str(path), settings)
    for _ in range(MOST_RUNS):
        run_id, _ = pipeline.follow_next(airflow, pipeline.INGEST, progress.show)
        verdict = _verdict(settings, source)
        if verdict is not None:
            return Poisoned(*verdict, run_id, airflow.failed_task(pipeline.INGEST, run_id))
    raise AirflowFailed(
        f"after {MOST_RUNS} runs there is no verdict on the bad batch: see Airflow's grid"
    )


def _verdict(settings: StackSettings, source: str) -> tuple[str, str, str, int] | None:
    """Return id, status, reason and row count of the bad batch, or None while it has no verdict."""
    query = (
        "select batch_id, status, coalesce(reason, ''), n_rows from landing.batches"
        " where source_sha256 = %s and status <> 'loaded'"
    )
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(query, (source,))
        row = cur.fetchone()
    if row is None:
        return None
    batch_id, status, reason, n_rows = row
    return str(batch_id), str(status), str(reason), int(n_rows)


def screen(settings: StackSettings, batch: Poisoned, before: Published, after: Published) -> Table:
    """Return a table that shows where the batch was rejected and what is published."""
    grid = f"http://127.0.0.1:{settings.airflow_port}/dags/{pipeline.INGEST}/runs/{batch.run_id}"
    page = f"http://127.0.0.1:{settings.docs_port}/gx/{batch.batch_id}/raw.html"
    status = f"{batch.status}, {batch.rows_in_raw} rows stay in RAW as evidence"
    table = Table("item", "value", box=None, pad_edge=False)
    table.add_row("batch", f"{batch.batch_id}: {status}")
    table.add_row("failed task", f"{batch.red_task or 'none'}  {grid}/tasks/{batch.red_task}")
    table.add_row("reason", Text(batch.reason))
    table.add_row("Great Expectations page", page)
    for name in ("rows_in_mart", "batches", "rows_in_quarantine", "production_model"):
        old = getattr(before, name)
        new = getattr(after, name)
        change = "unchanged"
        if old != new:
            change = f"[red]was {old}[/]"
        table.add_row(f"published: {name.replace('_', ' ')}", f"{new} ({change})")
    return table


@explained
def main() -> int:
    """Command line of `make poison`.

    Returns:
        0 when the batch was rejected and nothing that is published changed, else 1.
    """
    settings = stack_settings()
    progress = Progress()
    airflow = Airflow(settings)
    try:
        settle(airflow, settings, progress)
        before = published(settings)
        with progress.phase("submitting a bad batch"):
            batch = poison(airflow, settings, progress)
        after = published(settings)
    except (AirflowFailed, BadData, psycopg2.Error, httpx.HTTPError) as error:
        progress.error(f"{' '.join(str(error).split())}; is the stack up (make status)?")
        return 1
    progress.console.print(screen(settings, batch, before, after))
    is_stopped = batch.status == "rejected" and before == after
    return int(not is_stopped)


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
