"""Real answers against the types that API, client and form share: no field is missing, none is
extra.
"""

import orjson
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from readmit.client import answer_types as types
from serving.app import create_app
from tests.support.serving import ROW, FolderSource, contract, feature, read, settings

WRONG = ROW | {"gender": "X", "n_medications": 99, "other": 1}
OLDER = {
    "n_medications": 20,
    "diagnosis_1": "401",
    "is_medication_changed": True,
    "contract_hash": "x",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    source = FolderSource()
    source.promote(1)
    source.promote(2, "previous", contract=contract(feature("n_new", default=1)))
    narrow = feature("n_medications", default=10, max=15)
    source.promote(3, "challenger", contract=contract(replaced=narrow))
    home = tmp_path_factory.mktemp("api")
    app = create_app(settings(home, registry_poll_seconds=3600), source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        yield client


def fits(response, kind):
    """Fail unless the answer is of the type; a field of another name is an error too."""
    TypeAdapter(kind).validate_json(response.content, strict=False, extra="forbid")
    return response


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/predict", ROW, 200, types.Prediction),
        ("POST", "/predict", OLDER, 200, types.Prediction),
        ("POST", "/predict", WRONG, 422, types.ProblemDocument),
        ("POST", "/predict", WRONG | {"contract_hash": "x"}, 409, types.ProblemDocument),
        ("POST", "/explain", ROW, 200, types.Explanation),
        ("POST", "/compare", ROW, 200, types.Comparison),
        ("POST", "/compare?alias=challenger", ROW, 200, types.Comparison),
        ("POST", "/compare?alias=x", ROW, 422, types.ProblemDocument),
        ("POST", "/predict/batch", {"rows": [ROW, WRONG, OLDER, 5]}, 200, types.BatchAnswer),
        ("POST", "/predict/batch", {}, 422, types.ProblemDocument),
        ("GET", "/model", None, 200, types.ModelInfo),
        ("GET", "/model/seeds/icd9_codes", None, 200, types.CodeTable),
        ("GET", "/model/seeds/nope", None, 404, types.ProblemDocument),
        ("GET", "/model/history", None, 503, types.ProblemDocument),
        ("GET", "/nowhere", None, 404, types.ProblemDocument),
        ("DELETE", "/model", None, 405, types.ProblemDocument),
        ("GET", "/livez", None, 200, types.Liveness),
        ("GET", "/readyz", None, 200, types.Readiness),
    ],
)
def test_an_answer_fits_its_type(api, method, path, body, status, kind):
    response = api.request(method, path, json=body)
    assert response.status_code == status
    fits(response, kind)


def test_compared_answers_are_of_each_kind(api):
    unmapped = fits(api.post("/compare?alias=challenger", json=ROW), types.Comparison).json()
    assert unmapped["answers"][1]["code"] == "outdated_form"
    assert unmapped["answers"][1]["errors"][0]["code"] == "too_large"
    mapped = api.post("/compare", json=ROW).json()
    assert mapped["answers"][1]["contract"]["defaulted"] == ["n_new"]


def test_a_refused_version_is_in_the_type_of_readiness(tmp_path):
    source = FolderSource()
    source.promote(1, wrong_by=0.1)
    app = create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app) as client:
        response = fits(client.get("/readyz"), types.Readiness)
        fits(client.post("/predict", json=ROW), types.ProblemDocument)
    assert response.status_code == 503
    assert response.json()["refused"]["version"]


def test_the_projects_contract_fits_its_type(contract):
    document = orjson.loads(contract.to_json())
    del document["seeds"]
    TypeAdapter(types.ContractDocument).validate_python(document, extra="forbid")


def test_the_report_of_a_trained_model_fits_its_type(contract):
    """Every field of report.json that training writes is a field of ModelInfo."""
    from dataclasses import fields

    from training import bundle_writer, mlflow_tracking
    from training.evaluation import Evaluation
    from training.snapshots import Facts

    values = dict.fromkeys([field.name for field in fields(Facts)], 1)
    values |= {"batches": ["a"], "fingerprint": "f", "data_source": "uci"}
    facts = Facts(**values)
    interval = {"figure": 0.6, "low": 0.5, "high": 0.7}
    evaluated = Evaluation(
        y=None,
        p=None,
        metrics={"auroc": interval},
        operating_point={"threshold": 0.1, "ppv": 0.2},
        calibration=[{"predicted": 0.1, "observed": 0.1, "n": 9}],
        decision_curve=[{"threshold": 0.1, "net_benefit": 0.0, "call_everybody": 0.0}],
        slices=[],
        score_bins=[{"lowest": 0.0, "n": 9, "figure": 0.1, "low": 0.0, "high": 0.2}],
        capacity=[
            {
                "calls_per_100": 10,
                "threshold": 0.2,
                "called": interval,
                "readmissions_found": interval,
                "calls_per_readmission": None,
            }
        ],
    )
    provenance = mlflow_tracking.provenance(facts, contract, 7)
    report = bundle_writer.report(evaluated, facts, "logistic", provenance)
    document = orjson.loads(contract.to_json())
    del document["seeds"]
    report |= {"name": "m", "version": "1", "run_id": "r", "experiment_id": "1"}
    report |= {"promoted_at": None, "contract": document, "model_card": ""}
    TypeAdapter(types.ModelInfo).validate_python(report, extra="forbid")
