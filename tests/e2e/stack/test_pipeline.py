"""From the file to an answer.

Every batch is published and accounted for, the model is served, and a bad batch is stopped.
"""

import json
import os
import re

import httpx
import pytest

from readmit.batches import claims
from readmit.contract.definition import Contract
from readmit.intake.sample import REAL_ROWS
from readmit.settings import ROOT
from stack import monitoring, pipeline, poison
from tests.support import accounting, raw, stack
from training import experiments, snapshots
from training.training_settings import TrainingSettings

# Facts of the real file (docs: the data card).
REAL_EXCLUDED = 2_423


# Tests that ran before may have submitted files of their own.
PUBLISHED_OF_SOURCE = """
    select sum(batches.n_rows)::bigint
    from landing.batches inner join landing.sources using (source_sha256)
    where batches.status = 'published' and sources.name = %s
"""


def test_every_row_is_accounted_for(up):
    states = accounting.check(up.settings)
    assert len(states) >= 4
    assert set(states.values()) == {"published"}
    n_rows, n_features, n_quarantined, n_excluded = accounting.totals(up.settings)
    if not up.is_real:
        [(published,)] = raw.query(
            up.settings, up.settings.raw_database, PUBLISHED_OF_SOURCE, up.source.name
        )
        with up.source.open() as file:
            assert published == sum(1 for _ in file) - 1
    assert n_rows == n_features + n_quarantined + n_excluded
    assert claims.count_waiting(up.settings) == 0


def get_from_prometheus(up, path, **parameters):
    """Return the data of Prometheus's answer."""
    url = f"http://127.0.0.1:{up.settings.prometheus_port}/api/v1/{path}"
    return httpx.get(url, params=parameters, trust_env=False).json()["data"]


@pytest.mark.skipif(monitoring.find_installed("prometheus") is None, reason="no prometheus")
def test_prometheus_of_the_machine_watches_the_stack(up):
    """Installed programs run; the missing ones, which no test downloads, are named in one line."""
    rows = json.loads(stack.run("stack.status", "--json").stdout)
    state = {row["name"]: row["up"] for row in rows}
    installed = {name for name in monitoring.PROGRAMS if monitoring.find_installed(name)}
    for name in installed:
        assert state.get(name), name
    n_left_out = len(re.findall("^left out: ", up.output, re.MULTILINE))
    assert n_left_out == int(installed != set(monitoring.PROGRAMS))
    targets = {}
    for target in get_from_prometheus(up, "targets")["activeTargets"]:
        targets[target["labels"]["job"]] = target["health"]
    assert {targets["api"], targets["s3"], targets["prometheus"]} == {"up"}
    if "pushgateway" in installed:
        query = 'max(readmit_batches{status="published"})'
        [published] = get_from_prometheus(up, "query", query=query)["result"]
        assert float(published["value"][1]) == len(accounting.check(up.settings))
    if "alertmanager" in installed:
        assert len(get_from_prometheus(up, "alertmanagers")["activeAlertmanagers"]) == 1


@pytest.mark.full
def test_the_real_file_counts_as_measured(up):
    if not up.is_real:
        pytest.skip("DATASET does not name the real file")
    n_rows, n_features, n_quarantined, n_excluded = accounting.totals(up.settings)
    assert (n_rows, n_excluded) == (REAL_ROWS, REAL_EXCLUDED)
    assert n_features == REAL_ROWS - REAL_EXCLUDED - n_quarantined


@pytest.mark.full
def test_shuffled_labels_teach_nothing(up, dbt_manifest, tmp_path):
    """All labels are shuffled, so no true label of the sealed test is used."""
    if not up.is_real:
        pytest.skip("DATASET does not name the real file")
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(dbt_manifest))
    contract = Contract.from_manifest(path)
    rows, _ = snapshots.read_mart(contract, up.settings)
    assert len(rows) >= 90_000
    shuffled = []
    for variant in experiments.variants(contract, TrainingSettings()):
        if variant.are_labels_shuffled:
            shuffled.append(variant)
    [variant] = shuffled
    result = experiments.judge(variant, contract, rows, seed=1)
    assert result["auroc"] == pytest.approx(0.5, abs=0.01)


def test_the_grid_shows_a_task_per_dbt_model(up, dbt_manifest):
    runs = [run for run in up.airflow.runs(pipeline.INGEST) if run["state"] == "success"]
    tasks = up.airflow.tasks(pipeline.INGEST, runs[0]["dag_run_id"])
    task_ids = " ".join(task["task_id"] for task in tasks)
    for node in dbt_manifest["nodes"].values():
        if node["resource_type"] == "model":
            assert f"dbt.{node['name']}" in task_ids, node["name"]


def test_the_api_names_the_version_in_production(up, api_url):
    version = pipeline.in_production(up.settings)
    model = httpx.get(f"{api_url}/model", timeout=30).raise_for_status().json()
    assert model["version"] == version
    features = model["contract"]["features"]
    row = {}
    for feature in features:
        if feature["role"] == "input":
            row[feature["name"]] = feature["default"]
    answer = httpx.post(f"{api_url}/predict", json=row, timeout=30).raise_for_status().json()
    assert answer["model"]["version"] == version
    assert 0 < answer["probability"] < 1
    assert answer["history"] == "assumed_first_stay"


def test_everything_is_up_and_within_its_memory(up):
    status = stack.run("stack.status")
    assert status.returncode == 0, status.stdout


def test_a_second_up_changes_nothing_but_what_reads_a_new_manifest(up):
    env_file = os.environ["READMIT_ENV_FILE"]
    with open(env_file) as file:
        before = file.read()
    names = ("postgres", "s3", "mlflow", "airflow-scheduler", "api", "ui", "docs")
    pids = {name: stack.pid(up.settings, name) for name in names}
    reader = stack.pid(up.settings, "airflow-dag-processor")
    published = poison.published(up.settings)
    os.utime(ROOT / "dbt_project" / "target" / "manifest.json", (0, 0))  # older than the project
    started = stack.run("stack.up", seconds=300)
    assert started.returncode == 0, started.stdout
    with open(env_file) as file:
        assert file.read() == before
    assert {name: stack.pid(up.settings, name) for name in names} == pids
    assert stack.pid(up.settings, "airflow-dag-processor") != reader
    assert poison.published(up.settings) == published


def test_a_bad_batch_is_stopped_and_changes_nothing(up, docs_url):
    before = poison.published(up.settings)
    poisoned = stack.run("stack.poison", seconds=600)
    assert poisoned.returncode == 0, poisoned.stdout + poisoned.stderr
    assert "raw_gate" in poisoned.stdout
    assert poison.published(up.settings) == before
    assert claims.count_waiting(up.settings) == 0  # all of the bad file was judged
    states = accounting.check(up.settings)
    [batch_id] = [batch_id for batch_id, status in states.items() if status == "rejected"]
    page = httpx.get(f"{docs_url}/gx/{batch_id}/raw.html", timeout=30)
    assert page.is_success
    assert "age" in page.text
