"""The monitor on real Postgres, S3 and MLflow: requests are logged as by the API, a later batch
brings outcomes.
"""

import json
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psycopg2
import pytest
from psycopg2.extras import execute_values
from sklearn.metrics import roc_auc_score

from readmit import db, storage
from readmit.client.api_client import LOAD_TEST_STAY
from readmit.settings import MLFLOW_READER, StackSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import METRICS_BY_JOB, Job
from serving import prediction_log
from tests.support import raw, services
from tests.support.training import make_rows
from training import features, jobs, mlflow_tracking, monitor, realised, snapshots, training_gauges
from training.snapshots import Facts, Snapshot
from training.training_settings import MonitorSettings

NAME = "monitored"
LATER = "train-009-later"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def settings(mlflow_server, tmp_path_factory):
    """Settings of running services with databases of their own, also in the environment, where the
    jobs read them.
    """
    own = services.fresh(tmp_path_factory.mktemp("monitor"), mlflow_port=mlflow_server.mlflow_port)
    chosen = {
        "READMIT_MODEL_NAME": NAME,
        "READMIT_TRAINING_CANDIDATES": "logistic",
        "READMIT_TRAINING_THREADS": "1",
        "READMIT_PROMOTION_FLOOR": "0.5",
    }
    environment = services.environment(own) | chosen | {"READMIT_BOOTSTRAP_REPLICATES": "100"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            if name.isupper():
                patch.setenv(name, value)
        yield MonitorSettings()


@pytest.fixture(scope="module")
def production(contract, settings):
    """A version in production that learned from 3,000 rows, which are in the mart."""
    rows = make_rows(contract, n=3000)
    n = rows["split"].value_counts()
    sizes = (int(n["train"]), int(n["validation"]), int(n["test"]), 0, 0)
    facts = Facts("a" * 64, "sample", sorted(rows["_batch_id"].unique()), *sizes)
    snapshots.store(Snapshot(facts, contract, rows), settings)
    unsigned = settings.model_copy(update={"model_signing_key": None})  # only promotion signs
    run_id = jobs.fit(facts.fingerprint, "logistic", unsigned)
    version = jobs.register_best([run_id], settings)
    assert jobs.decide(version, settings) == version
    in_mart(rows, contract, settings, create=True)
    return version


def connection(role, settings):
    """Open a transaction as a role whose password the monitor does not have, as dbt or the API
    do.
    """
    return db.transaction(role, settings.clean_database, StackSettings())


def in_mart(rows, contract, settings, create=False):
    """Add rows to the mart, which dbt would make."""
    types = {
        "encounter_id": "bigint",
        "patient_nbr": "bigint",
        "split": "text",
        "_batch_id": "text",
    }
    types[contract.label.name] = "boolean"
    for feature in contract.features:
        types[feature.name] = feature.data_type
    with (
        connection("transformer", settings) as clean,
        clean.cursor() as cur,
    ):
        if create:
            cur.execute(
                f"create table {snapshots.MART} ({', '.join(f'{k} {v}' for k, v in types.items())})"
            )
        values = rows[list(types)].astype(object).to_numpy().tolist()
        execute_values(cur, f"insert into {snapshots.MART} ({', '.join(types)}) values %s", values)


def stays(contract, seed, n=600, first_id=100_000):
    """Return stays of the same kind as those in the snapshot, of a later batch."""
    rows = make_rows(contract, n=n, seed=seed)
    return rows.assign(encounter_id=rows["encounter_id"] + first_id, _batch_id=LATER)


def log_requests(
    rows,
    scores,
    contract,
    settings,
    version,
    ids=True,
    moment=NOW,
    stay=None,
    is_clinical=True,
):
    """Write requests as the API does, with its rights; `ids`: of the stays, else `stay` for all of
    them. `is_clinical` is None for rows of version 0.1.0.
    """
    sent = rows[features.names([*contract.inputs, *contract.history])]
    texts = [json.dumps(row) for row in json.loads(sent.to_json(orient="records"))]
    numbers = [stay] * len(rows)
    if ids:
        numbers = rows["encounter_id"].tolist()
    caller = "stranger"
    if is_clinical:
        caller = "ward"
    values = []
    for text, score, number in zip(texts, scores, numbers, strict=True):
        values.append(
            (
                str(uuid.uuid4()),
                moment,
                NAME,
                version,
                "run",
                contract.hash,
                text,
                float(score),
                "low",
                0.2,
                None,
                number,
                "given",
                caller,
                is_clinical,
                10,
                "low",
            )
        )
    with (
        connection("serving", settings) as clean,
        clean.cursor() as cur,
    ):
        execute_values(cur, prediction_log.INSERT, values)


def scored(rows, settings, version):
    with mlflow_tracking.reaching(settings):
        return mlflow_tracking.scores(NAME, version, rows, settings)


def page_of_docs(name, settings):
    """Return a page of the docs site."""
    s3 = storage.client("gates", settings)
    response = s3.get_object(Bucket=settings.s3_pipeline_bucket, Key=f"docs/{name}")
    return response["Body"].read().decode()


def latest(settings):
    query = """
        select model_version, n_requests, verdict, evidence
        from ops.monitor_reports order by report_id desc
    """
    return raw.query(StackSettings(), settings.clean_database, query)[0]


def test_without_a_production_model_there_is_nothing_to_monitor(settings):
    with pytest.raises(monitor.NothingToMonitor):
        monitor.run(settings.model_copy(update={"model_name": "never_registered"}))


def test_too_few_requests_are_reported(contract, settings, production):
    rows = stays(contract, seed=1, n=50)
    log_requests(
        rows, scored(rows, settings, production), contract, settings, production, ids=False
    )
    assert monitor.run(settings) == "too few"
    _, n_requests, verdict, evidence = latest(settings)
    assert (n_requests, verdict, evidence["features"]) == (50, "too few", [])
    assert evidence["realised"][0]["metrics"] is None


def log_other_requests(rows, p, predicted_at, contract, settings, version):
    """Log requests that must not change the performance on `rows`, which were scored as `p`."""
    served = (contract, settings, version)
    # A later what-if on a stay: its first answer counts.
    hour = timedelta(hours=1)
    log_requests(rows.head(40), 1 - p[:40], *served, moment=predicted_at + hour)
    # Requests that are not clinical never count, neither before nor after.
    for moment in (predicted_at - hour, predicted_at + hour):
        log_requests(rows.tail(200), 1 - p[-200:], *served, moment=moment, is_clinical=False)
    # Stays that the model learned from say nothing.
    learned = make_rows(contract, n=3000).head(30)
    log_requests(learned, np.full(30, 0.5), *served)
    # Stays that are not in the mart wait for their outcome.
    waiting = stays(contract, seed=3, n=20, first_id=900_000)
    log_requests(waiting, np.full(20, 0.5), *served)


def test_outcomes_of_a_later_batch_are_joined(contract, settings, production):
    rows = stays(contract, seed=2)
    p = scored(rows, settings, production)
    predicted_at = NOW - timedelta(hours=2)
    log_requests(rows, p, contract, settings, production, moment=predicted_at)
    log_other_requests(rows, p, predicted_at, contract, settings, production)
    learned_from = snapshots.described("a" * 64, settings)[0].batches

    def judged():
        return realised.judge(
            production, realised.read(production, contract, settings), learned_from, settings
        )

    before = judged()
    assert (before.n_labels, before.n_known_before, before.metrics) == (0, 30, None)
    in_mart(rows, contract, settings)
    performance = judged()
    y = features.labels(contract, rows)
    assert (performance.n_labels, performance.n_readmitted, performance.n_known_before) == (
        600,
        int(y.sum()),
        30,
    )
    auroc = performance.metrics["auroc"]
    assert auroc["figure"] == pytest.approx(roc_auc_score(y, p), abs=1e-9)
    assert auroc["low"] < auroc["figure"] < auroc["high"]
    assert performance.metrics["observed_minus_predicted"]["figure"] == pytest.approx(
        (y - p).mean(), abs=1e-9
    )
    assert sum(row["n"] for row in performance.calibration) == 600


def test_no_drift_is_silent_and_published(contract, settings, production):
    rows = stays(contract, seed=4, first_id=200_000)
    log_requests(
        rows, scored(rows, settings, production), contract, settings, production, ids=False
    )
    assert monitor.run(settings) == "no drift"
    version, n_requests, verdict, evidence = latest(settings)
    assert (version, verdict) == (production, "no drift")
    assert n_requests >= 600
    assert {shift["name"] for shift in evidence["features"]} == set(
        features.names(contract.inputs + contract.history)
    )
    assert evidence["realised"][0]["metrics"]["auroc"]["figure"] > 0.5
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    page = page_of_docs(f"drift/{day}/index.html", settings)
    index = page_of_docs("index.html", settings)
    assert "No drift." in page
    assert "n_inpatient_visits" in page
    assert f'href="drift/{day}/"' in index
    assert "http" not in page  # nothing from elsewhere


def test_the_monitor_needs_no_more_than_its_pod_has(settings, production):
    """It reads MLflow as the API does, signs nothing, and reads no mart."""
    lacking = {"trainer_password": None, "model_signing_key": None}
    reader = {
        "mlflow_tracking_username": MLFLOW_READER,
        "mlflow_tracking_password": StackSettings().mlflow_api_password,
    }
    in_pod = settings.model_copy(update=lacking | reader)
    assert monitor.run(in_pod) in ("no drift", "too few")


def test_drift_is_found_and_named(contract, settings, production):
    rows = stays(contract, seed=5, n=2500, first_id=300_000)
    rows = rows.assign(age_band="[0-10)", n_medications=rows["n_medications"] + 60)
    log_requests(
        rows, scored(rows, settings, production), contract, settings, production, ids=False
    )
    assert monitor.run(settings) == "drift"
    drifted = {shift["name"] for shift in latest(settings)[3]["features"] if shift["drifted"]}
    assert drifted == {"age_band", "n_medications"}


@pytest.mark.parametrize(
    ("is_clinical", "stay"),
    [(False, LOAD_TEST_STAY), (False, None), (False, 77), (None, LOAD_TEST_STAY)],
    ids=["load test", "stranger", "stranger with a stay", "load test of 0.1.0"],
)
def test_requests_of_strangers_and_load_tests_are_not_monitored(
    contract, settings, production, monkeypatch, is_clinical, stay
):
    monkeypatch.setattr(monitor, "MAX_REQUESTS", 1000)
    before = monitor.requests(production, contract, settings)
    odd_requests(contract, settings, production, 0.123456, stay, is_clinical)
    after = monitor.requests(production, contract, settings)
    assert len(before.scores) == len(after.scores) > 500
    assert (after.scores != 0.123456).all(axis=None)


@pytest.mark.parametrize(
    ("is_clinical", "stay"),
    [(True, LOAD_TEST_STAY), (True, None), (None, None)],
    ids=["stay 0", "no stay", "of 0.1.0"],
)
def test_no_number_hides_a_clinical_caller(
    contract, settings, production, monkeypatch, is_clinical, stay
):
    monkeypatch.setattr(monitor, "MAX_REQUESTS", 1000)
    odd_requests(contract, settings, production, 0.654321, stay, is_clinical)
    counted = monitor.requests(production, contract, settings)
    assert (counted.scores == 0.654321).sum(axis=None) == 1000


def odd_requests(contract, settings, production, score, stay, is_clinical):
    """Log 1,000 requests of now with absurd but legal values."""
    rows = stays(contract, seed=6, n=1000).assign(age_band="[0-10)")
    log_requests(
        rows,
        np.full(len(rows), score),
        contract,
        settings,
        production,
        ids=False,
        moment=datetime.now(UTC),
        stay=stay,
        is_clinical=is_clinical,
    )


def test_reports_are_append_only(settings, production):
    with (
        pytest.raises(psycopg2.Error, match="append-only"),
        connection("postgres", settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("delete from ops.monitor_reports")


def test_pushed_gauges_are_listed(contract, settings, production):
    """Every figure has a name and labels of the list; without requests distances are not a
    number.
    """
    with mlflow_tracking.reaching(settings) as client:
        version = mlflow_tracking.version_at(client, NAME, mlflow_tracking.PRODUCTION)
        outcomes = monitor.realised_performance(client, settings)
        report = monitor.compare(version, snapshots.load("a" * 64, settings), outcomes, settings)
    pushed = {
        **training_gauges.drift_gauges(report, settings),
        **training_gauges.realised_gauges(report),
    }
    pushgateway.registry(Job.MONITOR, pushed, {})
    assert set(pushed) == {metric.name for metric in METRICS_BY_JOB[Job.MONITOR]}
    assert pushed["readmit_drift_detected"] == 1
    assert pd.notna(pushed["readmit_realised_auroc"]["low"])
