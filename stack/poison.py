"""`make poison`: hand a bad batch to the running stack, and show on one screen how it is stopped.

What waits is published and trained on first. Then comes a file that reads well, but in every fifth row the age is no
band: the raw gate must say no. Nothing that is published may change: the mart, the quarantine and the model in
production are compared before and after.
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
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from stack import pipeline
from stack.airflow_api import Airflow, AirflowFailed
from stack.configuration import stack_settings
from stack.progress import Progress

ROWS = 1500
EVERY = 5
BAD_AGE = "[70-75)"
# Others may hand in batches meanwhile, which are worked off before ours.
MOST_RUNS = 20


@dataclass(frozen=True)
class Published:
    """What a reader sees."""

    rows_in_mart: int
    batches: int
    rows_in_quarantine: int
    production_model: str


@dataclass(frozen=True)
class Poisoned:
    """What became of the bad batch."""

    batch_id: str
    status: str
    reason: str
    rows_in_raw: int
    run_id: str
    red_task: str


def published(settings: StackSettings) -> Published:
    """Return what a reader sees now."""
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select (select count(*) from marts.fct_encounter_features), (select count(*) from ops.published_batches),"
            " (select count(*) from quarantine.encounters where released_at is null)"
        )
        in_mart, batches, held = cur.fetchone() or (0, 0, 0)
    return Published(
        int(in_mart), int(batches), int(held), pipeline.in_production(settings) or "none"
    )


def write_poison(path: Path, seed: int, batch_size: int) -> None:
    """Write made-up stays that make one batch, every fifth with an age that is no band; another seed, other stays."""
    sample.write_csv(path, ROWS, seed)
    with path.open(newline="", encoding="ascii") as file:
        rows = [row for row in csv.DictReader(file) if split_of(row["patient_nbr"]) == "train"][
            :batch_size
        ]
    for row in rows[::EVERY]:
        row["age"] = BAD_AGE
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def settle(airflow: Airflow, settings: StackSettings, progress: Progress) -> None:
    """Have what waits published and trained on: it would change what is compared.

    Raises:
        AirflowFailed: it cannot be, or no model is served.
    """
    waited = pipeline.publish_waiting(airflow, settings, progress.show)
    pipeline.train(airflow, settings, progress.show, waited)


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
        run_id = pipeline.current_or_new(airflow, pipeline.INGEST)
        pipeline.follow(airflow, pipeline.INGEST, run_id, progress.show)
        if found := _verdict(settings, source):
            return Poisoned(*found, run_id, airflow.failed_task(pipeline.INGEST, run_id))
    raise AirflowFailed(
        f"after {MOST_RUNS} runs there is no verdict on the bad batch: see Airflow's grid"
    )


def _verdict(settings: StackSettings, source: str) -> tuple[str, str, str, int] | None:
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select batch_id, status, coalesce(reason, ''), n_rows from landing.batches"
            " where source_sha256 = %s and status <> 'loaded'",
            (source,),
        )
        found = cur.fetchone()
    return (str(found[0]), str(found[1]), str(found[2]), int(found[3])) if found else None


def screen(settings: StackSettings, what: Poisoned, before: Published, after: Published) -> Table:
    """Return the one screen: what was stopped where, and that nothing else changed."""
    airflow = f"http://127.0.0.1:{settings.airflow_port}/dags/{pipeline.INGEST}/runs/{what.run_id}"
    page = f"http://127.0.0.1:{settings.docs_port}/gx/{what.batch_id}/raw.html"
    table = Table("what", "found", box=None, pad_edge=False)
    table.add_row(
        "batch", f"{what.batch_id}: {what.status}, {what.rows_in_raw} rows kept in RAW as evidence"
    )
    table.add_row("red task", f"{what.red_task or 'none'}  {airflow}/tasks/{what.red_task}")
    table.add_row("reason", Text(what.reason))
    table.add_row("its page of Great Expectations", page)
    for name in ("rows_in_mart", "batches", "rows_in_quarantine", "production_model"):
        was, now = getattr(before, name), getattr(after, name)
        change = "unchanged" if was == now else f"[red]was {was}[/]"
        table.add_row(f"published: {name.replace('_', ' ')}", f"{now} ({change})")
    return table


@explained
def main() -> int:
    """Command line of `make poison`; the exit code is 0 when the batch was stopped and nothing changed."""
    settings, progress = stack_settings(), Progress()
    airflow = Airflow(settings)
    try:
        with progress.phase("publishing what waits"):
            settle(airflow, settings, progress)
        before = published(settings)
        with progress.phase("handing in a bad batch"):
            what = poison(airflow, settings, progress)
        after = published(settings)
    except (AirflowFailed, BadData, psycopg2.Error, httpx.HTTPError) as error:
        progress.error(f"{' '.join(str(error).split())}; is the stack up (make status)?")
        return 1
    progress.console.print(screen(settings, what, before, after))
    return 0 if what.status == "rejected" and before == after else 1


if __name__ == "__main__":
    sys.exit(main())
