"""The prediction log and the data routes on a real Postgres with the real roles."""

from starlette.testclient import TestClient

from serving.app import create_app
from serving.settings import ServingSettings
from tests.support import raw
from tests.support.serving import ROW, FolderSource, read


def test_predictions_are_written_and_data_is_read(tmp_path):
    with_services = raw.fresh(tmp_path)
    known = ServingSettings(**with_services.model_dump())
    source = FolderSource()
    source.promote(1)
    app = create_app(known, source=source, read=read)
    app.state.parts.watcher.look()
    with TestClient(app) as client:
        asked = client.post("/predict", json=ROW | {"patient_nbr": 7, "encounter_id": 9}).json()
        app.state.parts.answering.log.flush()
        assert client.get("/data/batches").json() == {"batches": []}
        assert client.get("/data/freshness").json()["freshness"][0]["n_published"] == 0
        assert client.get("/data/quarantine").json() == {"rows": []}
        assert client.get("/data/monitoring").json() == {"reports": []}
        assert client.get("/model/history").json() == {"promotions": []}
    logged = raw.query(
        known, known.clean_database, "select request_id::text, encounter_id, probability, features from ops.predictions"
    )
    assert logged[0][:3] == (asked["request_id"], 9, asked["probability"])
    assert logged[0][3]["n_medications"] == ROW["n_medications"]
