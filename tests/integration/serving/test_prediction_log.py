"""The prediction log and the data routes on a real Postgres with the real roles."""

import json
import re
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg2
import pytest
from starlette.testclient import TestClient

from readmit.client import access_keys
from readmit.client.access_keys import Scope
from readmit.client.api_client import LOAD_TEST_STAY
from readmit.ops.bootstrap import bootstrap
from serving.api_settings import ServingSettings
from serving.app import create_app
from serving.instruments import Metrics
from serving.prediction_log import LoggedPrediction, PredictionLog
from tests.support import raw
from tests.support.serving import CAPACITY_REPORT, ROW, FolderSource, contract, feature, read


def test_predictions_are_written_and_data_is_read(tmp_path):
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(**stack.model_dump(), api_allowed_hosts="testserver")
    source = FolderSource()
    source.promote(1)
    app = create_app(settings, source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        single = client.post("/predict", json=ROW | {"patient_nbr": 7, "encounter_id": 9}).json()
        batch = client.post(
            "/predict/batch", json={"rows": [ROW, ROW | {"encounter_id": 10}]}
        ).json()
        app.state.parts.services.log.flush()
        assert client.get("/data/batches").json() == {"batches": []}
        assert client.get("/data/freshness").json()["freshness"][0]["n_published"] == 0
        assert client.get("/data/quarantine").json() == {"rows": []}
        assert client.get("/data/monitoring").json() == {"reports": []}
        assert client.get("/data/outcomes").json() == {"outcomes": []}
        assert client.get("/model/history").json() == {"promotions": []}
    logged = raw.query(
        stack,
        stack.clean_database,
        "select request_id::text, encounter_id, probability, features"
        " from ops.predictions order by predicted_at, 1",
    )
    first, second = batch["predictions"]
    expected = [
        (single["request_id"], 9, single["probability"]),
        (first["request_id"], None, first["probability"]),
        (second["request_id"], 10, second["probability"]),
    ]
    assert [row[:3] for row in logged] == expected
    assert {row[3]["n_medications"] for row in logged} == {ROW["n_medications"]}


def test_what_was_said_by_calls_is_logged(tmp_path):
    """The number of calls was nowhere, so nobody could tell who had been on a ward's list."""
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(**stack.model_dump(), api_allowed_hosts="testserver")
    source = FolderSource()
    source.promote(1, report=CAPACITY_REPORT)
    app = create_app(settings, source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        stays = [
            client.post("/predict", json=ROW).json(),
            client.post("/predict?calls_per_100=50", json=ROW).json(),
            *client.post("/predict/batch?calls_per_100=1", json=[ROW]).json()["predictions"],
        ]
        source.promote(2)  # registered without thresholds by calls
        app.state.parts.watcher.check()
        stays.append(client.post("/predict", json=ROW).json())
        app.state.parts.services.log.flush()
    statement = "select request_id::text, calls_per_100, capacity_risk from ops.predictions"
    logged = {row[0]: row[1:] for row in raw.query(stack, stack.clean_database, statement)}
    assert [logged[stay["request_id"]] for stay in stays] == [
        (10, stays[0]["capacity"]["risk"]),
        (50, "high"),
        (1, "low"),
        (None, None),
    ]


HISTORY = (
    "create schema if not exists marts; grant usage on schema marts to serving;"
    " create table marts.dim_patients (patient_nbr bigint primary key, n_prior_stays integer);"
    " insert into marts.dim_patients values (7, 3); grant select on marts.dim_patients to serving"
)
LOOKUPS = (
    "select caller, patient_nbr, request_id::text, outcome from ops.history_lookups"
    " order by lookup_id"
)

CALLERS = "select caller, is_clinical from ops.predictions order by predicted_at, request_id"


@contextmanager
def api_with_history(stack, challenger=None, **values):
    """The API on a database in which patient 7 had three stays."""
    settings = ServingSettings(
        **stack.model_dump(), history_timeout_ms=1000, api_allowed_hosts="testserver", **values
    )
    raw.query(stack, stack.clean_database, HISTORY)
    source = FolderSource()
    source.promote(1)
    if challenger:
        source.promote(2, "challenger", contract=challenger)
    app = create_app(settings, source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        yield client


def effects(answer):
    return {row["feature"]: row["value"] for row in answer.json()["contributions"]}


def test_a_key_without_the_scope_sees_no_value_of_a_history(tmp_path):
    stack = raw.fresh(tmp_path)
    reader, with_scope = access_keys.new("ward", [Scope.PREDICT, Scope.HISTORY])
    other, without = access_keys.new("ehr", [Scope.PREDICT])
    stay = ROW | {"patient_nbr": 7}
    with api_with_history(stack, api_keys=f"{with_scope.entry()},{without.entry()}") as client:

        def ask(path, body, key):
            return client.post(path, json=body, headers={"X-API-Key": key})

        visible = ask("/explain", stay, reader)
        hidden = ask("/explain", stay, other)
        sent = ask("/explain", stay | {"n_prior_stays": 2}, other)
        predicted = ask("/predict", stay, other)
        compared = ask("/compare", stay, other)
    assert effects(visible)["n_prior_stays"] == 3
    assert "n_prior_stays" not in effects(hidden)
    assert effects(hidden)["history"] is None
    assert effects(sent)["n_prior_stays"] == 2  # its own value
    assert hidden.json()["history"] == "looked_up"
    assert hidden.json()["probability"] == visible.json()["probability"]
    total = sum(row["contribution"] for row in hidden.json()["contributions"])
    assert hidden.json()["base"] + total == pytest.approx(hidden.json()["score"])
    for answer in (predicted, compared):
        assert "n_prior_stays" not in answer.text


LONE = re.compile(r"(?<![\w.-])41(?![\w.-])")


@pytest.mark.parametrize("scopes", [[Scope.PREDICT], [Scope.PREDICT, Scope.CLINICAL]])
def test_no_answer_has_a_value_that_only_the_history_has(tmp_path, scopes):
    """Also none of a refusal, of another version and its contract, or of a table as CSV."""
    stack = raw.fresh(tmp_path)
    secret, key = access_keys.new("ehr", scopes)
    stay = ROW | {"patient_nbr": 9}
    narrow = contract(replaced=feature("n_prior_stays", role="history", max=15))
    bodies = {
        "/predict": stay,
        "/predict?calls_per_100=5": stay,
        "/explain": stay,
        "/compare": stay,
        "/compare?alias=challenger": stay,
        "/predict/batch?trial=true&certainty=true": {"rows": [stay, stay]},
        "/predict/batch": {"rows": [stay]},
    }
    with api_with_history(stack, narrow, api_keys=key.entry()) as client:
        raw.query(stack, stack.clean_database, "insert into marts.dim_patients values (9, 41)")
        answers = []
        for path, body in bodies.items():
            wrong = json.loads(json.dumps(body).replace("Female", "nobody"))
            of_another_form = json.loads(
                json.dumps(body).replace('"patient_nbr"', '"contract_hash": "old", "patient_nbr"')
            )
            for sent in (body, wrong, of_another_form):
                for accept in ("application/json", "text/csv"):
                    headers = {"X-API-Key": secret, "Accept": accept}
                    answers.append(client.post(path, json=sent, headers=headers))
    looked_up = [answer for answer in answers if "looked_up" in answer.text]
    assert len(looked_up) > 15
    assert {answer.status_code for answer in answers} == {200, 422}
    for answer in answers:
        assert not LONE.search(answer.text), answer.text


def test_every_look_up_is_audited_with_caller_and_request(tmp_path):
    stack = raw.fresh(tmp_path)
    ward, key = access_keys.new("ward", [Scope.PREDICT])
    stay = ROW | {"patient_nbr": 7}
    with api_with_history(stack, api_keys=key.entry()) as client:
        client.headers["X-API-Key"] = ward
        answers = [
            client.post("/predict", json=stay),
            client.post("/predict", json=ROW | {"patient_nbr": 8}),
            client.post("/explain", json=stay),
            client.post("/compare", json=stay),
            client.post("/predict/batch?trial=true", json={"rows": [stay, stay, stay]}),
        ]
        client.post("/predict", json=ROW)
        client.post("/predict", json=stay | {"n_prior_stays": 1})
        client.post("/predict/batch", json={"rows": [stay]})
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert raw.query(stack, stack.clean_database, LOOKUPS) == [
        ("ward", 7, ids[0], "found"),
        ("ward", 8, ids[1], "none"),
        ("ward", 7, ids[2], "found"),
        ("ward", 7, ids[3], "found"),
        ("ward", 7, ids[4], "found"),
    ]


def test_without_an_audit_there_is_no_history(tmp_path, caplog):
    stack = raw.fresh(tmp_path)
    with api_with_history(stack) as client:
        raw.query(stack, stack.clean_database, "revoke insert on ops.history_lookups from serving")
        answer = client.post("/predict", json=ROW | {"patient_nbr": 7}).json()
        first_stay = client.post("/predict", json=ROW).json()
        metrics = client.get("/metrics").text
    assert answer["history"] == "unavailable"
    assert answer["probability"] == first_stay["probability"]
    assert 'readmit_history_lookups_total{outcome="failed"} 1.0' in metrics
    assert "InsufficientPrivilege" in caplog.text


def test_a_what_if_uses_the_history_of_the_first_answer(tmp_path):
    stack = raw.fresh(tmp_path)
    stay = ROW | {"patient_nbr": 7}
    with api_with_history(stack) as client:
        answer = client.post("/predict", json=stay).json()
        tried = client.post(
            "/predict/batch?trial=true", json={"rows": [stay, stay | {"n_medications": 0}]}
        ).json()
        mixed = client.post("/predict/batch?trial=true", json={"rows": [stay, ROW]}).json()
        logged = client.post("/predict/batch", json={"rows": [stay]}).json()
        unknown = client.post(
            "/predict/batch?trial=true", json={"rows": [ROW | {"patient_nbr": 8}]}
        ).json()
    assert answer["history"] == "looked_up"
    assert (
        tried["predictions"][0]["probability"]
        == answer["probability"]
        > tried["predictions"][1]["probability"]
    )
    assert [row["history"] for row in tried["predictions"]] == ["looked_up"] * 2
    for other in (mixed, logged, unknown):
        assert {row["history"] for row in other["predictions"]} == {"assumed_first_stay"}


@pytest.mark.parametrize(
    ("scopes", "stay", "is_clinical"),
    [
        ([Scope.PREDICT, Scope.CLINICAL], 9, True),
        ([Scope.PREDICT, Scope.CLINICAL], 0, True),
        ([Scope.PREDICT], 9, False),
        ([Scope.PREDICT], None, False),
    ],
)
def test_a_prediction_has_its_callers_name_and_the_mark_of_its_key(
    tmp_path, scopes, stay, is_clinical
):
    stack = raw.fresh(tmp_path)
    secret, key = access_keys.new("ward", scopes)
    row = ROW | {"encounter_id": stay}
    with api_with_history(stack, api_keys=key.entry()) as client:
        client.headers["X-API-Key"] = secret
        client.post("/predict", json=row)
        client.post("/predict/batch", json={"rows": [row]})
    assert raw.query(stack, stack.clean_database, CALLERS) == [("ward", is_clinical)] * 2


def test_without_keys_every_caller_but_a_load_test_is_clinical(tmp_path):
    stack = raw.fresh(tmp_path)
    with api_with_history(stack) as client:
        for stay in (None, 9, LOAD_TEST_STAY):
            client.post("/predict", json=ROW | {"encounter_id": stay})
    marks = raw.query(stack, stack.clean_database, CALLERS)
    assert marks == [("local", True), ("local", True), ("local", False)]


def test_the_set_up_upgrades_an_older_log(tmp_path):
    stack = raw.fresh(tmp_path)
    raw.query(
        stack,
        stack.clean_database,
        # It counted no versions of its schema, and had nothing of the migrations after the first.
        "drop table ops.alembic_version, ops.mart_contract, ops.rebuilds, ops.prediction_archives,"
        " ops.object_digests cascade;"
        " drop schema staging_next, intermediate_next, marts_next, quarantine_next cascade;"
        " drop view ops.clinical_predictions;"
        " alter table ops.predictions drop column caller, drop column is_clinical,"
        " drop column calls_per_100, drop column capacity_risk;"
        " drop table ops.history_lookups",
    )
    for _ in range(2):
        bootstrap(stack)
    with api_with_history(stack) as client:
        client.post("/predict", json=ROW | {"patient_nbr": 7})
    assert raw.query(stack, stack.clean_database, CALLERS) == [("local", True)]
    assert len(raw.query(stack, stack.clean_database, LOOKUPS)) == 1


def prediction(gender="Female"):
    return LoggedPrediction(
        request_id=str(uuid.uuid4()),
        predicted_at=datetime.now(UTC),
        model_name="readmission",
        model_version="1",
        run_id="run1",
        contract_hash="hash",
        features=(("gender",), (gender,)),
        probability=0.5,
        risk="high",
        threshold=0.2,
        patient_nbr="7",
        encounter_id=9,
        history="given",
        caller="local",
        is_clinical=True,
        calls_per_100=10,
        capacity_risk="low",
    )


def logged_ids(stack):
    rows = raw.query(stack, stack.clean_database, "select request_id::text from ops.predictions")
    return {request_id for (request_id,) in rows}


def test_a_commit_whose_answer_is_lost_does_not_stop_the_log(tmp_path):
    stack = raw.fresh(tmp_path)
    log = PredictionLog(ServingSettings(**stack.model_dump()), Metrics())
    write = log._write
    answers_lost = []

    def write_and_lose_the_first_answer(rows):
        write(rows)
        if not answers_lost:
            answers_lost.append(len(rows))
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    log._write = write_and_lose_the_first_answer
    predictions = [prediction() for _ in range(3)]
    log.add(predictions)
    log.flush()
    assert (answers_lost, log.waiting) == ([3], 3)
    log.add([prediction()])
    log.flush()
    assert (log.waiting, log.error) == (0, None)
    assert len(logged_ids(stack)) == 4
    log._disconnect()


def test_a_row_that_postgres_refuses_is_dropped_alone(tmp_path, caplog):
    stack = raw.fresh(tmp_path)
    metrics = Metrics()
    log = PredictionLog(ServingSettings(**stack.model_dump()), metrics)
    predictions = [prediction() for _ in range(100)]
    zero_character = prediction("secret\x00")
    no_number = prediction()._replace(probability=float("nan"))
    predictions[17] = zero_character
    predictions[60] = no_number
    log.add(predictions)
    log.flush()
    poisoned = {zero_character.request_id, no_number.request_id}
    assert (log.waiting, log.error) == (0, None)
    assert logged_ids(stack) == {row.request_id for row in predictions} - poisoned
    assert metrics.counter("readmit_log_lost_total")._value.get() == 2
    assert metrics.counter("readmit_log_written_total")._value.get() == 98
    errors = []
    for record in caplog.records:
        if record.levelname == "ERROR":
            errors.append(record.getMessage())
    for request_id in poisoned:
        assert request_id in " ".join(errors)
    assert "secret" not in caplog.text
    log._disconnect()
