"""The tasks of dbt's models in Airflow's triggerer: a real Airflow, dbt and Postgres."""

from collections.abc import Iterator

import pytest

from readmit.contract.definition import PROJECT
from readmit.settings import ROOT, StackSettings
from tests.support import dbt
from tests.support.private_airflow import PrivateAirflow, Task
from tests.support.raw import fresh, query

# As on a cluster the tasks of models wait in the triggerer: there are few slots.
DAG_FILE = """
import os, sys
from datetime import datetime, timedelta
from pathlib import Path

sys.path.append(os.environ["DAG_MODULES"])

from airflow.sdk import DAG

import transformations
from dbt_verdict import PRODUCER
from shared import DEFAULT_ARGS

transformations.PROJECT = Path(os.environ["TEST_PROJECT"])
ONCE = {
    "schedule": "@once",
    "start_date": datetime(2026, 1, 1),
    "catchup": False,
    "default_args": DEFAULT_ARGS | {"retry_delay": timedelta(seconds=1)},
}
with DAG("dbt_builds", **ONCE):
    transformations.dbt_task_group()
with DAG("dbt_fails", **ONCE) as fails:
    transformations.dbt_task_group()
    fails.get_task(PRODUCER).env = {"READMIT_TRANSFORMER_PASSWORD": "wrong"}
"""
PROJECT_FILE = {
    "dbt_project.yml": "{name: readmit, version: '1.0', profile: readmit, config-version: 2}",
    "profiles.yml": (PROJECT / "profiles.yml").read_text(),
    "models/first.sql": "{{ config(materialized='table') }} select 1 as n",
    "models/second.sql": "{{ config(materialized='table') }} select n from {{ ref('first') }}",
}
PRODUCER = "dbt.dbt_producer_watcher"
MODELS = ("dbt.first_run", "dbt.second_run")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    return fresh(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def airflow(settings: StackSettings) -> Iterator[PrivateAirflow]:
    folder = settings.readmit_home
    project = folder / "project"
    for name, text in PROJECT_FILE.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    (folder / "dags").mkdir()
    (folder / "dags" / "dags_of_test.py").write_text(DAG_FILE)
    target = folder / "target"
    dbt.parse(target, project=project)
    variables = {
        "AIRFLOW__CORE__PARALLELISM": "3",
        "DAG_MODULES": str(ROOT / "dags"),
        "DBT_TARGET_PATH": str(target),
        "TEST_PROJECT": str(project),
    }
    with PrivateAirflow(settings, folder, **variables) as airflow:
        yield airflow


def tables(settings: StackSettings) -> set[str]:
    statement = "select tablename from pg_tables where tablename in ('first', 'second')"
    return {name for (name,) in query(settings, settings.clean_database, statement)}


@pytest.fixture(scope="module")
def built(airflow: PrivateAirflow) -> dict[str, Task]:
    return airflow.run("dbt_builds")


def test_the_task_of_a_built_model_costs_no_process(built, settings) -> None:
    assert built[PRODUCER] == Task("success", 1, had_process=True)
    for name in MODELS:
        assert built[name] == Task("success", 1, had_process=False)
    assert tables(settings) == {"first", "second"}


def test_its_log_is_short_and_says_what_dbt_said(built, airflow) -> None:
    for name in MODELS:
        [log] = airflow.logs.glob(f"dag_id=dbt_builds/*/task_id={name}/*")
        lines = log.read_text().splitlines()
        assert len(lines) <= 6, lines
        model = name.removeprefix("dbt.").removesuffix("_run")
        assert f"model.readmit.{model} is built, by dbt_producer_watcher" in lines[1]
        assert "SELECT 1" in lines[1]  # what Postgres said


def test_the_tasks_build_their_models_when_dbt_failed(built, airflow, settings) -> None:
    query(settings, settings.clean_database, "drop table staging.first, staging.second")
    tasks = airflow.run("dbt_fails")
    assert tasks[PRODUCER].state == "skipped"  # Cosmos starts no second build
    for name in MODELS:
        assert tasks[name] == Task("success", 1, had_process=True)
    assert tables(settings) == {"first", "second"}
