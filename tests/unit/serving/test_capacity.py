"""The answer says whether a ward that can call N of 100 patients calls this one."""

import csv
import io

import pytest
from fastapi.testclient import TestClient

from readmit.client import access_keys
from readmit.client.access_keys import Scope
from serving.app import create_app
from tests.support.serving import (
    CAPACITY_REPORT,
    CAPACITY_THRESHOLDS,
    ROW,
    FolderSource,
    read,
    settings,
)


def app_with(home, *, report=CAPACITY_REPORT, **values):
    source = FolderSource()
    source.promote(1, report=report)
    source.promote(2, alias="previous", report=report)
    app = create_app(settings(home, registry_poll_seconds=3600, **values), source=source, read=read)
    app.state.parts.watcher.check()
    return app


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with TestClient(app_with(tmp_path_factory.mktemp("api"))) as client:
        yield client


def band(probability, calls):
    threshold = CAPACITY_THRESHOLDS[calls]
    risk = "high" if probability >= threshold else "low"
    return {"calls_per_100": calls, "threshold": threshold, "risk": risk}


@pytest.mark.parametrize("calls", [1, 10, 40, 50])
def test_a_request_says_how_many_patients_can_be_called(api, calls):
    answer = api.post(f"/predict?calls_per_100={calls}", json=ROW).json()
    assert answer["capacity"] == band(answer["probability"], calls)
    assert answer["threshold"] == 0.2  # that from costs does not change


def test_both_bands_can_differ(api):
    bands = set()
    for calls in (1, 50):
        answer = api.post(f"/predict?calls_per_100={calls}", json=ROW).json()
        bands.add((answer["risk"], answer["capacity"]["risk"]))
    assert len({risk for risk, _ in bands}) == 1
    assert {by_capacity for _, by_capacity in bands} == {"low", "high"}


def test_without_a_number_ten_of_100_can_be_called(api):
    for path in ("/predict", "/predict?trial=true"):
        answer = api.post(path, json=ROW).json()
        assert answer["capacity"] == band(answer["probability"], 10)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "too_small"),
        ("-3", "too_small"),
        ("51", "too_large"),
        ("ten", "not_an_integer"),
        ("", "not_an_integer"),
        ("1_0", "not_an_integer"),
        ("٣", "not_an_integer"),
        ("9" * 4_050, "not_an_integer"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/compare", "/predict/batch"])
def test_a_wrong_number_is_refused(api, path, text, code):
    body = {"rows": [ROW]} if "batch" in path else ROW
    refused = api.post(path, params={"calls_per_100": text}, json=body)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["code"]) == ("calls_per_100", code)


def test_a_batch_and_a_comparison_have_it_too(api):
    batch = api.post("/predict/batch?calls_per_100=5&trial=true", json={"rows": [ROW, {}]}).json()
    (stay, nothing) = batch["predictions"]
    assert stay["capacity"] == band(stay["probability"], 5)
    assert nothing is None
    for answer in api.post("/compare?calls_per_100=5", json=ROW).json()["answers"]:
        assert answer["capacity"] == band(answer["probability"], 5)


def test_the_csv_of_a_batch_has_it_in_its_last_column(api):
    rows = {"rows": [ROW, {}]}
    text = api.post("/predict/batch?calls_per_100=50", json=rows, headers={"accept": "text/csv"})
    header, scored, wrong = csv.reader(io.StringIO(text.text))
    assert header[-1] == "capacity_risk"
    assert (scored[-1], wrong[-1]) == ("high", "")


def test_the_number_of_the_key_counts_unless_the_request_has_one(tmp_path):
    secret, key = access_keys.new("ward-3", [Scope.PREDICT], calls_per_100=3)
    with TestClient(app_with(tmp_path, api_keys=key.entry())) as client:
        client.headers["X-API-Key"] = secret
        assert client.post("/predict", json=ROW).json()["capacity"]["calls_per_100"] == 3
        answer = client.post("/predict?calls_per_100=20", json=ROW).json()
        assert answer["capacity"]["calls_per_100"] == 20


def test_a_model_that_was_registered_without_it_serves(tmp_path):
    with TestClient(app_with(tmp_path, report={})) as client:
        answer = client.post("/predict?calls_per_100=5", json=ROW).json()
        assert answer["capacity"] is None
        assert answer["risk"] in ("low", "high")
        rows = {"rows": [ROW]}
        text = client.post("/predict/batch", json=rows, headers={"accept": "text/csv"}).text
        assert text.splitlines()[1].endswith(",")
        assert "capacity" not in client.get("/model").json()


def test_a_damaged_list_refuses_the_model(tmp_path):
    app = app_with(tmp_path, report={"capacity": [{"calls_per_100": "ten"}]})
    assert app.state.parts.watcher.served is None
