"""The log of each task is short, and says what happened to the rows and where to look next.

The real functions of the tasks run on real Postgres, S3, MLflow and dbt, in a process of their own
whose logs are set up as Airflow's task runner does it.
"""

import json
import os
import subprocess
import sys

import pytest

from readmit.intake import sample
from readmit.settings import ROOT
from tests.support import services

MOST_LINES = 40
OWN_LINES_OF_AIRFLOW = 12  # "Filling up the DagBag", "Done. Returned value was ...", and the like
SMALLEST_LEVEL = ("warning", "error", "critical")


@pytest.fixture(scope="module")
def logs(tmp_path_factory, dbt_manifest, mlflow_server) -> dict[str, list[str]]:
    home = tmp_path_factory.mktemp("logs")
    sample.write_csv(home / "source.csv", 1600)
    settings = services.fresh(
        home,
        dataset=str(home / "source.csv"),
        batch_size=800,
        mlflow_tracking_uri=mlflow_server.mlflow_tracking_uri,
        model_name="task-logs",
    )
    variables = {
        "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"],
        "READMIT_BOOTSTRAP_REPLICATES": "100",
        "READMIT_TRAINING_CANDIDATES": "logistic",
        "READMIT_TRAINING_THREADS": "1",
        "READMIT_PROMOTION_FLOOR": "0.5",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'dags'}",
    }
    output = home / "lines.json"
    completed = subprocess.run(
        [sys.executable, "-m", "tests.support.task_logs", str(output)],
        cwd=ROOT,
        env=services.environment(settings) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return json.loads(output.read_text())


TASKS = {
    "ingest_batch.register_source": ["registered"],
    "ingest_batch.claim_build": ["is claimed by this run"],
    "ingest_batch.load": ["rows copied into landing.encounters"],
    "ingest_batch.raw_gate": ["rows in landing.encounters", "passed", "/raw.html"],
    "ingest_batch.dbt": ["fct_encounter_features: success", "stg_uci__encounters: success"],
    "ingest_batch.publish_gate": ["n_quarantined", "passed", "/publish.html"],
    "ingest_batch.publish": ["features +", "quarantined +", "excluded"],
    "ingest_batch.release_claim": ["released"],
    "train_model.candidates": ["logistic"],
    "train_model.fit": ["fitted on", "AUROC", "/#/experiments/"],
    "train_model.register_best": ["is registered", "/models/"],
    "train_model.decide": ["promote"],
    "train_model.score_sealed": ["sealed test", "AUROC"],
    "train_model.draw_learning_curve": ["AUROC", "train rows", "/models/"],
}


@pytest.mark.parametrize("task", TASKS)
def test_the_log_of_a_task_is_short_and_tells_the_story(logs, task):
    lines = logs[task]
    assert len(lines) <= MOST_LINES - OWN_LINES_OF_AIRFLOW, "\n".join(lines)
    text = "\n".join(lines)
    for words in TASKS[task]:
        assert words in text, text


@pytest.mark.parametrize("task", TASKS)
def test_every_line_is_a_record_of_ours(logs, task):
    """No warning of a library, no line that a library prints."""
    for line in logs[task]:
        record = json.loads(line)
        assert record["logger"].partition(".")[0] in ("readmit", "expectations", "training"), line
