"""The DAG of the monitor: it parses, measures drift first and requests training only when allowed."""

import dataclasses
import math
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from readmit.docs_site import dbt_docs
from training import monitor, training_gauges
from training.drift import Shift
from training.drift_report import DriftReport
from training.monitor_page import drawn, page
from training.realised import Realised
from training.training_settings import MonitorSettings

FILE = Path(__file__).resolve().parents[3] / "dags" / "monitor_model.py"


@pytest.fixture(scope="module")
def dag():
    bag = DagBag(str(FILE))
    assert bag.import_errors == {}
    return bag.dags["monitor_model"]


def test_it_measures_daily_and_requests_training_afterwards(dag):
    assert dag.schedule == "@daily"
    assert dag.max_active_runs == 1
    assert dag.get_task("ask_for_training").upstream_task_ids == {"look"}
    assert [asset.name for asset in dag.get_task("ask_for_training").outlets] == ["training_ready"]
    assert not dag.get_task("look").outlets
    # Old sources do not stop the measurement.
    assert not dag.get_task("source_freshness").downstream_task_ids


@pytest.mark.parametrize(
    ("verdict", "setting", "is_requested"),
    [
        ("drift", "true", True),
        ("drift", None, False),
        ("no drift", "true", False),
        ("too few", "true", False),
    ],
)
def test_drift_requests_training_only_when_that_is_switched_on(
    dag, monkeypatch, verdict, setting, is_requested
):
    if setting:
        monkeypatch.setenv("READMIT_DRIFT_TRIGGERS_TRAINING", setting)
    task = dag.get_task("ask_for_training")
    monkeypatch.setattr("readmit.batches.builds.count_published", lambda _: 7)
    [asset] = task.outlets
    event = SimpleNamespace(extra={})
    if is_requested:
        task.python_callable(verdict, {asset: event})
        assert event.extra == {"published": 7}
    else:
        with pytest.raises(AirflowSkipException):
            task.python_callable(verdict, {asset: event})


def test_no_production_model_is_a_skip_not_a_failure(dag, monkeypatch):
    def nothing(_settings):
        raise monitor.NothingToMonitor("there is no production model yet")

    monkeypatch.setattr(monitor, "run", nothing)
    with pytest.raises(AirflowSkipException, match="no production model"):
        dag.get_task("look").python_callable()


def test_before_anything_is_published_sources_are_not_too_old(dag, monkeypatch):
    """`make up` switches the DAG on, and its first run starts, before the first batch is there."""
    calls = []

    def too_old():
        calls.append(True)
        raise dbt_docs.SourcesTooOld("ops.published_batches")

    monkeypatch.setattr(dbt_docs, "freshness", too_old)
    look = dag.get_task("source_freshness").python_callable
    monkeypatch.setattr("readmit.batches.builds.count_published", lambda _: 0)
    with pytest.raises(AirflowSkipException, match="nothing is published"):
        look()
    assert not calls
    monkeypatch.setattr("readmit.batches.builds.count_published", lambda _: 1)
    with pytest.raises(AirflowFailException, match=r"ops\.published_batches"):
        look()


REPORT = DriftReport(
    version="7",
    made_at=datetime(2026, 11, 23),
    n_reference=5000,
    n_requests=900,
    n_with_history=0,
    names=["payer_code"],
    inputs=[],
    history=[],
    score=[],
    realised=[],
)
TOO_FEW = dataclasses.replace(REPORT, n_requests=20, inputs=None, history=None, score=None)


def shift(name, distance, drifted):
    return Shift(
        name, distance, 0.02, 0.002, drifted, {"<b>": 0.4, "y": 0.6}, {"<b>": 0.1, "y": 0.9}
    )


def test_the_page_says_what_drifted_and_escapes_values():
    shifts = [shift("payer_code", 0.3, True), shift("insulin", 0.01, False)]
    report = dataclasses.replace(REPORT, inputs=shifts)
    text = page(report, MonitorSettings())
    assert report.verdict == "drift"
    assert "The requests have drifted." in text
    assert "payer_code</code>: drifted" in text
    assert "<b>" not in text.replace("<b>The requests", "")


def test_the_page_says_when_there_is_too_little():
    report = dataclasses.replace(TOO_FEW, realised=[Realised("7", 12, 1, 3, None, [])])
    text = page(report, MonitorSettings())
    assert "Too few requests for a verdict." in text
    assert "At least 200 are needed." in text
    assert "too few: 200 outcomes with 20 readmissions are needed; 3 more were known" in text


def test_too_few_requests_take_an_earlier_versions_figures_back():
    pushed = training_gauges.drift_gauges(TOO_FEW, MonitorSettings())
    assert pushed["readmit_drift_detected"] == 0
    assert pushed["readmit_feature_drifted"] == {"payer_code": 0}
    assert math.isnan(pushed["readmit_feature_drift"]["payer_code"])
    assert math.isnan(pushed["readmit_score_drift"])


def test_drifted_columns_are_always_drawn():
    shifts = [shift(f"f{i}", 0.9 - i / 20, False) for i in range(10)]
    shifts.append(shift("last", 0.11, True))
    names = [column.name for column in drawn(shifts)]
    assert names == ["f0", "f1", "f2", "f3", "f4", "f5", "last"]
