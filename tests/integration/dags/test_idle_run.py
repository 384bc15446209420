"""An hourly run with nothing to do costs two tasks: a real run of the DAG."""

import os
import subprocess
import sys

import pytest

from readmit import storage
from readmit.intake import sample, sources
from readmit.settings import ROOT
from tests.support import raw
from tests.support.services import environment, keys_of_admin

# One process: Airflow's import takes seconds.
RUN = """
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb
initdb()
dag = DagBag("dags/ingest_batch.py").dags["ingest_batch"]
run = dag.test()
print(run.state.value, *sorted(f"{ti.task_id}={ti.state}" for ti in run.get_task_instances()))
"""


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, dbt_manifest: object) -> list[str]:
    """The state of the run and of each task, on a stack whose source file is registered and whose
    batches are all decided.
    """
    folder = tmp_path_factory.mktemp("idle")
    sample.write_csv(folder / "export.csv", n_rows=300)
    settings = raw.fresh(
        folder / "home",
        dataset=str(folder / "export.csv"),
        s3_pipeline_bucket=f"p{os.urandom(4).hex()}",  # nobody's inbox
        **keys_of_admin("loader"),
    )
    storage.ensure_buckets(settings)
    raw.stand_in_tables(settings)
    sources.ensure_source(settings)
    raw.query(settings, settings.raw_database, "delete from landing.slices")
    variables = environment(settings) | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'dags'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    process = subprocess.run(
        [sys.executable, "-c", RUN],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout.splitlines()[-1].split()


FIRST = {"register_source", "source_is_known", "look_for_work"}


def test_only_the_first_tasks_run(idle: list[str]) -> None:
    state, *tasks = idle
    assert state == "success"
    states = dict(task.split("=") for task in tasks)
    assert {name for name, state in states.items() if state == "success"} == FIRST
    assert {state for name, state in states.items() if name not in FIRST} == {"skipped"}
    assert len(states) > 16
