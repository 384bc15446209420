"""Every row is published exactly once under faults.

The worker and its database sessions are killed, and steps are repeated in any order.
"""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from readmit.batches import ledger, loading
from readmit.batches.builds import AccountingBroken, Build, BuildBusy, BuildLost
from readmit.contract.definition import PROJECT
from readmit.intake import sample, sources
from readmit.settings import StackSettings
from tests.support import dbt, raw

SEED = 7
N_FAULTS = 4
LONGEST_SECONDS = 12.0
# What a step may say when it is repeated too early, and when its session ends under it.
EXPECTED = (AccountingBroken, BuildBusy, BuildLost, LookupError, psycopg2.Error)

STATES = {
    "raw": (
        "select batch_id, status, n_rows, n_quarantined, n_excluded, reason"
        " from landing.batches order by 1",
        "select _batch_id, _source_row, md5((to_jsonb(e) - '_loaded_at')::text)"
        " from landing.encounters e order by 1, 2",
        "select count(*) from landing.claims",
    ),
    "clean": (
        "select md5((to_jsonb(s) #- '{raw_values,_loaded_at}')::text)"
        " from staging.stg_uci__encounters s order by 1",
        "select md5(f::text) from intermediate.int_encounters__features f order by 1",
        "select md5(m::text) from marts.fct_encounter_features m order by 1",
        "select md5((to_jsonb(q) #- '{raw_values,_loaded_at}')::text)"
        " from quarantine.encounters q order by 1",
        "select build_id, kind, n_rows, n_features, n_quarantined, n_excluded"
        " from ops.published_batches order by 1",
        "select count(*) from ops.current_build",
    ),
}


def state(settings: StackSettings) -> list[list[tuple]]:
    names = {"raw": settings.raw_database, "clean": settings.clean_database}
    results = []
    for key, statements in STATES.items():
        for statement in statements:
            results.append(raw.query(settings, names[key], statement))
    return results


def start_dbt(settings: StackSettings, home: Path) -> "subprocess.Popen[bytes]":
    command = [
        str(Path(sys.executable).parent / "dbt"),
        "build",
        "--exclude-resource-type",
        "unit_test",
    ]
    command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    environment = raw.environment(settings) | {
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home),
    }
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def finish(settings: StackSettings, home: Path, run_id: str = "run") -> None:
    """Publish whatever is waiting, as runs without faults do."""
    while batch_id := raw.claim_batch(run_id, settings):
        loading.load(batch_id, settings)
        Build.of_batch(batch_id).begin(settings)
        dbt.build(settings, home / "target")
        Build.of_batch(batch_id).publish(settings)


def end_sessions(settings: StackSettings) -> None:
    """End every connection, as the loss of Postgres does."""
    statement = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = any(%s) and pid <> %s"
    )
    names = [settings.raw_database, settings.clean_database]
    raw.query(settings, "postgres", statement, names, 0)


def fault(settings: StackSettings, home: Path, batch_id: str, draw: random.Random) -> None:
    """Repeat steps of the run in any order; dbt loses its process or its sessions at any moment."""
    build = Build.of_batch(batch_id)
    steps: list[Callable[[], object]] = [
        partial(loading.load, batch_id, settings),
        partial(build.begin, settings),
        partial(build.publish, settings),
        partial(ledger.repair, settings),
    ]
    for step in draw.sample(steps, len(steps)):
        attempt(step)
    attempt(steps[0])
    attempt(steps[1])
    worker = start_dbt(settings, home)
    time.sleep(draw.uniform(0.5, LONGEST_SECONDS))
    if draw.random() < 0.5:
        end_sessions(settings)
    else:
        worker.kill()
    worker.wait()
    attempt(steps[2])


def attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except EXPECTED:
        return


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "sample.csv"
    sample.write_csv(path, 1200)
    lines = path.read_text().splitlines(keepends=True)
    lines[50] = lines[50].replace("[", "{", 1)  # one row for quarantine
    path.write_text("".join(lines), newline="")
    return path


def world(home: Path, source: Path) -> StackSettings:
    settings = raw.fresh(home, dataset=str(source), batch_size=5000)
    sources.ensure_source(settings)
    return settings


@pytest.mark.full
def test_faults_leave_nothing_behind(source, tmp_path):
    calm = world(tmp_path, source)
    tried = world(tmp_path, source)
    finish(calm, tmp_path)
    draw = random.Random(SEED)
    for _ in range(N_FAULTS):
        batch_id = raw.claim_batch("run", tried)
        if batch_id is None:
            break
        fault(tried, tmp_path, batch_id, draw)
    finish(tried, tmp_path)
    ledger.repair(tried)
    expected = state(calm)
    assert expected[0]
    for rows, expected_rows in zip(state(tried), expected, strict=True):
        assert rows == expected_rows
