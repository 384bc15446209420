"""Gauges of jobs reach a real Pushgateway under listed names.

An unreachable gateway never fails a task.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from expectations import gate
from readmit import storage
from readmit.batches import batch_gauges, loading
from readmit.batches.builds import Build
from readmit.intake import sample, sources
from readmit.ops import backup, object_digests
from readmit.settings import StackSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import METRICS_BY_JOB, Job
from stack.postgres import binary
from tests.support import raw
from tests.support.services import end, environment, free_port, wait_until
from training import training_gauges
from training.evaluation import Evaluation
from training.promotions import Promotion
from training.snapshots import Facts

PROGRAM = shutil.which("prometheus-pushgateway")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="prometheus-pushgateway is not installed")


@pytest.fixture
def gateway(tmp_path):
    port = free_port()
    # Debian's default is a file that all would share.
    command = [
        PROGRAM,
        f"--web.listen-address=127.0.0.1:{port}",
        f"--persistence.file={tmp_path / 'pushed'}",
    ]
    with (tmp_path / "pushgateway.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(partial(_is_ready, url), "the Pushgateway does not answer", 20)
        yield url
    finally:
        end(process)


def _is_ready(url):
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def shown(url):
    """Return {(name, labels without those of the gateway): value} of all that was pushed."""
    values = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", trust_env=False).text):
        for series in family.samples:
            if series.name.startswith("readmit_"):
                labels = dict(series.labels)
                job = labels.pop("job")
                labels.pop("instance", None)
                values[series.name, job, frozenset(labels.items())] = series.value
    return values


def value(url, name, job, **labels):
    return shown(url).get((name, job, frozenset(labels.items())))


@pytest.fixture
def settings(gateway, monkeypatch):
    monkeypatch.setenv("READMIT_PUSHGATEWAY_URL", gateway)
    return StackSettings()


def as_listed(url):
    """Check that every series that was pushed is in the list: job, name, labels."""
    for name, job, labels in shown(url):
        metrics = {metric.name: metric for metric in METRICS_BY_JOB[Job(job)]}
        assert set(dict(labels)) == set(metrics[name].labels), name


def test_the_ledger_and_a_batch_are_counted(gateway, settings, tmp_path):
    source = tmp_path / "encounters.csv"
    sample.write_csv(source, n_rows=1_500)
    stack_settings = raw.fresh(tmp_path, dataset=str(source), pushgateway_url=gateway)
    raw.stand_in_tables(stack_settings)
    sources.ensure_source(stack_settings)
    batch_id = raw.claim_batch("run", stack_settings)
    loading.load(batch_id, stack_settings)
    batch_gauges.report_batches(stack_settings)
    waiting = value(gateway, "readmit_batches", "ingest_batch", status="waiting")
    assert waiting > 0
    assert value(gateway, "readmit_batches", "ingest_batch", status="loaded") == 1
    # Nothing is published.
    assert value(gateway, "readmit_data_published_timestamp_seconds", "ingest_batch") is None
    Build.of_batch(batch_id).begin(stack_settings)
    raw.stand_in_build(stack_settings, batch_id, n_held=3)
    counts = Build.of_batch(batch_id).publish(stack_settings)
    batch_gauges.report_batches(stack_settings)
    assert value(gateway, "readmit_batches", "ingest_batch", status="published") == 1
    assert value(gateway, "readmit_batches", "ingest_batch", status="waiting") == waiting
    assert value(gateway, "readmit_quarantined_rows", "ingest_batch") == 3
    assert value(gateway, "readmit_batch_rows", "ingest_batch", outcome="arrived") == counts.n_rows
    assert (
        value(gateway, "readmit_batch_rows", "ingest_batch", outcome="features")
        == counts.n_features
    )
    assert value(gateway, "readmit_batch_seconds", "ingest_batch") > 0
    published_at = value(gateway, "readmit_data_published_timestamp_seconds", "ingest_batch")
    assert abs(published_at - time.time()) < 60
    keep_snapshot(stack_settings, "learned-from-it", [batch_id])
    training_gauges.production("learned-from-it", stack_settings)
    assert value(gateway, "readmit_model_data_timestamp_seconds", "train_model") == published_at
    as_listed(gateway)


def keep_snapshot(settings, name, batches):
    """Store the facts of a snapshot, without rows."""
    body = json.dumps({"facts": asdict(Facts(name, "uci", batches, 1, 1, 1, 0, 0))}).encode()
    s3 = storage.client("trainer", settings)
    object_digests.store(f"snapshots/{name}.json", body, s3, settings)


def outcome(success, severity="critical"):
    return SimpleNamespace(success=success, expectation_config=SimpleNamespace(severity=severity))


def test_gates_do_not_overwrite_each_other(gateway, settings):
    failed = partial(gate.gauges, [outcome(True), outcome(False)])
    warned = partial(gate.gauges, [outcome(True), outcome(False, "warning")])
    pushgateway.report(Job.INGEST, failed, settings, {"gate": "raw"})
    pushgateway.report(Job.INGEST, warned, settings, {"gate": "publish"})
    assert value(gateway, "readmit_gate_passed", "ingest_batch", gate="raw") == 0
    assert value(gateway, "readmit_gate_passed", "ingest_batch", gate="publish") == 1
    assert value(gateway, "readmit_gate_checks", "ingest_batch", gate="raw", outcome="failed") == 1
    assert (
        value(gateway, "readmit_gate_checks", "ingest_batch", gate="publish", outcome="warned") == 1
    )
    as_listed(gateway)


def test_training_and_its_decision(gateway, settings):
    figure = {"figure": 0.66, "low": 0.64, "high": 0.68}
    training_gauges.snapshot(Facts("f", "uci", ["a"], 10, 5, 5, 0, 0), settings)
    scores = {"auroc": figure, "average_precision": figure}
    slices = [
        {"slice": "race", "value": "Asian", "falls_behind": False},
        {"slice": "race", "value": "Other", "falls_behind": True},
    ]
    nothing = {
        "y": np.zeros(0),
        "p": np.zeros(0),
        "operating_point": {},
        "calibration": [],
        "decision_curve": [],
        "capacity": [],
        "score_bins": [],
    }
    for name in ("lightgbm", "logistic"):
        training_gauges.candidate(
            name, Evaluation(**nothing, metrics=scores, slices=slices), 1.5, settings
        )
    evidence = {"challenger_score": 0.66, "production_score": None, "gain": None}
    training_gauges.decision(
        Promotion("promote", "readmission", "1", None, "auroc", "first", evidence), settings
    )
    training_gauges.sealed({"auroc": figure}, settings)
    assert value(gateway, "readmit_training_rows", "train_model", split="train") == 10
    assert (
        value(
            gateway, "readmit_training_score", "train_model", candidate="logistic", metric="auroc"
        )
        == 0.66
    )
    assert value(gateway, "readmit_training_seconds", "train_model", candidate="lightgbm") == 1.5
    assert value(gateway, "readmit_slices_behind", "train_model", candidate="logistic") == 1
    assert value(gateway, "readmit_promotion_decision", "train_model", decision="promote") == 1
    assert value(gateway, "readmit_promotion_decision", "train_model", decision="keep") == 0
    assert value(gateway, "readmit_promotion_auroc", "train_model", side="challenger") == 0.66
    assert value(gateway, "readmit_promotion_auroc", "train_model", side="production") is None
    as_listed(gateway)


def test_tasks(gateway, settings):
    task = SimpleNamespace(
        dag_id="ingest_batch",
        task_id="dbt.run",
        start_date=datetime.now(UTC) - timedelta(seconds=9),
    )
    pushgateway.task_ended({"ti": task}, settings, succeeded=False)
    assert (
        9
        <= value(gateway, "readmit_task_seconds", "tasks", dag="ingest_batch", task="dbt.run")
        < 12
    )
    assert (
        value(gateway, "readmit_task_succeeded", "tasks", dag="ingest_batch", task="dbt.run") == 0
    )
    as_listed(gateway)


@pytest.mark.filterwarnings("default")
def test_a_task_that_was_killed(gateway, settings):
    """Its pod cannot report any more: Airflow's DAG processor calls back with its names only."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import TaskInstance
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    task_instance = TaskInstance(
        id=uuid4(),
        task_id="fit",
        dag_id="train_model",
        run_id="r",
        try_number=1,
        dag_version_id=uuid4(),
    )
    task = RuntimeTaskInstance.model_construct(
        **task_instance.model_dump(exclude_unset=True), task=None
    )
    pushgateway.task_ended({"ti": task}, settings, succeeded=False)
    assert value(gateway, "readmit_task_succeeded", "tasks", dag="train_model", task="fit") == 0
    assert value(gateway, "readmit_task_seconds", "tasks", dag="train_model", task="fit") is None
    as_listed(gateway)


def test_a_backup(gateway, tmp_path, monkeypatch):
    stack_settings = raw.fresh(tmp_path / "home", pushgateway_url=gateway)
    for name, text in environment(stack_settings).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("PATH", f"{binary('pg_dump').parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "argv", ["backup", "save", str(tmp_path / "backups")])
    began = time.time()
    assert backup.main() == 0
    assert (
        began < value(gateway, "readmit_backup_finished_timestamp_seconds", "backup") < time.time()
    )
    as_listed(gateway)


def test_without_a_gateway_no_gauges_are_computed(monkeypatch):
    monkeypatch.delenv("READMIT_PUSHGATEWAY_URL", raising=False)
    pushgateway.report(Job.INGEST, lambda: pytest.fail("gauges were computed"), StackSettings())


def test_an_unreachable_gateway_and_failing_gauges_are_warnings(monkeypatch, caplog):
    monkeypatch.setenv("READMIT_PUSHGATEWAY_URL", f"http://127.0.0.1:{free_port()}")
    settings = StackSettings()
    with caplog.at_level(logging.WARNING, "readmit"):
        pushgateway.report(Job.INGEST, lambda: {"readmit_quarantined_rows": 1}, settings)
        pushgateway.report(Job.INGEST, lambda: {"readmit_rows_by_patient": 1}, settings)
        pushgateway.report(Job.INGEST, lambda: {"readmit_quarantined_rows": 1 / 0}, settings)
    messages = [record.message for record in caplog.records]
    assert all(message.startswith("gauges of ingest_batch were not pushed") for message in messages)
    assert len(messages) == 3
    # A gateway that is away needs no traceback, a mistake does.
    assert "refused" in messages[0]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, True]


def test_names_and_labels_that_are_not_listed_are_refused():
    with pytest.raises(KeyError):
        pushgateway.registry(Job.INGEST, {"readmit_rows_by_patient": 1}, {})
    with pytest.raises(ValueError, match="label"):
        pushgateway.registry(Job.INGEST, {"readmit_quarantined_rows": {"a": 1}}, {})
    with pytest.raises(ValueError, match="label"):
        pushgateway.registry(Job.INGEST, {"readmit_batches": 1}, {})
