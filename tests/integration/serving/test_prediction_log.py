"""The prediction log and the data routes on a real Postgres with the real roles."""

from starlette.testclient import TestClient

from serving.api_settings import ServingSettings
from serving.app import create_app
from tests.support import raw
from tests.support.serving import ROW, FolderSource, read


def test_predictions_are_written_and_data_is_read(tmp_path):
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(**stack.model_dump(), api_allowed_hosts="testserver")
    source = FolderSource()
    source.promote(1)
    app = create_app(settings, source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        asked = client.post("/predict", json=ROW | {"patient_nbr": 7, "encounter_id": 9}).json()
        batch = client.post(
            "/predict/batch", json={"rows": [ROW, ROW | {"encounter_id": 10}]}
        ).json()
        app.state.parts.services.log.flush()
        assert client.get("/data/batches").json() == {"batches": []}
        assert client.get("/data/freshness").json()["freshness"][0]["n_published"] == 0
        assert client.get("/data/quarantine").json() == {"rows": []}
        assert client.get("/data/monitoring").json() == {"reports": []}
        assert client.get("/model/history").json() == {"promotions": []}
    logged = raw.query(
        stack,
        stack.clean_database,
        "select request_id::text, encounter_id, probability, features from ops.predictions order by predicted_at, 1",
    )
    answered = [(asked, 9), *zip(batch["predictions"], (None, 10), strict=True)]
    assert [row[:3] for row in logged] == [
        (said["request_id"], stay, said["probability"]) for said, stay in answered
    ]
    assert {row[3]["n_medications"] for row in logged} == {ROW["n_medications"]}


def test_a_what_if_knows_the_history_that_the_answer_was_given_with(tmp_path):
    stack = raw.fresh(tmp_path)
    settings = ServingSettings(
        **stack.model_dump(), history_timeout_ms=1000, api_allowed_hosts="testserver"
    )
    raw.query(
        stack,
        stack.clean_database,
        "create schema if not exists marts; grant usage on schema marts to serving;"
        " create table marts.dim_patients (patient_nbr bigint primary key, n_prior_stays integer);"
        " insert into marts.dim_patients values (7, 3); grant select on marts.dim_patients to serving",
    )
    source = FolderSource()
    source.promote(1)
    app = create_app(settings, source=source, read=read)
    app.state.parts.watcher.check()
    asked = ROW | {"patient_nbr": 7}
    with TestClient(app) as client:
        said = client.post("/predict", json=asked).json()
        tried = client.post(
            "/predict/batch?trial=true", json={"rows": [asked, asked | {"n_medications": 0}]}
        ).json()
        mixed = client.post("/predict/batch?trial=true", json={"rows": [asked, ROW]}).json()
        logged = client.post("/predict/batch", json={"rows": [asked]}).json()
        unknown = client.post(
            "/predict/batch?trial=true", json={"rows": [ROW | {"patient_nbr": 8}]}
        ).json()
    assert said["history"] == "looked_up"
    assert (
        tried["predictions"][0]["probability"]
        == said["probability"]
        > tried["predictions"][1]["probability"]
    )
    assert {each["history"] for each in tried["predictions"]} == {"looked_up"}
    for other in (mixed, logged, unknown):
        assert {each["history"] for each in other["predictions"]} == {"assumed_first_stay"}
