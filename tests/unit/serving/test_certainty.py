"""The answer says how sure it is, in the words of the bundle; an older bundle says nothing."""

import csv
import io
import json

import pytest
from fastapi.testclient import TestClient

from readmit.inference.typicality import FILE
from serving.app import create_app
from tests.support import serving as support
from tests.support.serving import ROW, FolderSource, read, settings

BINS = [
    {"lowest": 0.0, "n": 900, "figure": 0.05, "low": 0.04, "high": 0.07},
    {"lowest": 0.5, "n": 600, "figure": 0.4, "low": 0.36, "high": 0.44},
]


def typical(contract):
    fields = []
    for name in contract.base_names:
        if name in ("n_medications", "n_prior_stays"):
            field = {
                "name": name,
                "numbers": [0, 20, 40],
                "surprises": [3.0, 0.0, 3.0],
                "other": 9.0,
            }
        else:
            usual = str(ROW.get(name, contract.by_name[name].default))
            field = {"name": name, "texts": [usual], "surprises": [0.0], "other": 9.0}
        fields.append(field)
    return {"format": 1, "limit": 8.5, "fields": fields}


class Source(FolderSource):
    """Versions with typical values."""

    def __init__(self, change=None):
        super().__init__()
        self.change = change
        self.promote(1, report={"score_bins": BINS})

    def download(self, version, folder):
        super().download(version, folder)
        document = typical(support.contract())
        if self.change:
            self.change(document)
        (folder / FILE).write_text(json.dumps(document))


def client(home, source):
    app = create_app(settings(home, registry_poll_seconds=3600), source=source, read=read)
    app.state.parts.watcher.check()
    return TestClient(app)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with client(tmp_path_factory.mktemp("api"), Source()) as api:
        yield api


@pytest.mark.parametrize(("stays", "number"), [(0, 0), (20, 1)])
def test_the_rate_is_that_of_the_scores_bin(api, stays, number):
    answer = api.post("/predict", json=ROW | {"n_prior_stays": stays}).json()
    expected = BINS[answer["probability"] >= 0.5]
    assert BINS.index(expected) == number
    certainty = answer["certainty"]
    assert certainty["n_stays"] == expected["n"]
    assert certainty["observed"] == {name: expected[name] for name in ("figure", "low", "high")}


def test_an_unlike_patient_is_named_with_the_inputs_only(api):
    usual = api.post("/predict", json=ROW | {"n_prior_stays": 0}).json()["certainty"]
    assert (usual["is_unlike_training"], usual["unusual_fields"]) == (False, [])
    odd = api.post("/predict", json=ROW | {"n_medications": 41, "n_prior_stays": 0})
    assert odd.json()["certainty"]["is_unlike_training"]
    assert odd.json()["certainty"]["unusual_fields"] == ["n_medications"]
    # The history may be one that the caller may not see.
    by_history = api.post("/predict", json=ROW | {"n_prior_stays": 45}).json()["certainty"]
    assert (by_history["is_unlike_training"], by_history["unusual_fields"]) == (True, [])


ROWS = [
    ROW | {"n_prior_stays": 0},
    ROW | {"n_prior_stays": 20},
    ROW | {"n_medications": 41, "n_prior_stays": 0},
    ROW | {"gender": "X"},
]


def test_a_batch_says_it_when_the_call_asks(api):
    plain = api.post("/predict/batch", json={"rows": ROWS}).json()["predictions"]
    answer = api.post("/predict/batch?certainty=true", json={"rows": ROWS}).json()
    *stays, wrong = answer["predictions"]
    assert wrong is None
    for row, before, stay in zip(ROWS, plain, stays, strict=False):
        assert "certainty" not in before
        assert stay["certainty"] == api.post("/predict", json=row).json()["certainty"]
    assert stays[2]["certainty"]["unusual_fields"] == ["n_medications"]


def test_a_batch_in_csv_has_columns_for_it(api):
    post = {"json": {"rows": ROWS}, "headers": {"accept": "text/csv"}}
    plain = api.post("/predict/batch", **post).text.splitlines()[0]
    text = api.post("/predict/batch?certainty=true", **post).text
    assert text.splitlines()[0].removeprefix(plain) == (
        ",observed_rate,observed_low,observed_high,is_unlike_training"
    )
    usual, often, odd, wrong = csv.DictReader(io.StringIO(text))
    assert (usual["observed_rate"], usual["is_unlike_training"]) == ("0.05", "false")
    assert (often["observed_low"], often["observed_high"]) == ("0.36", "0.44")
    assert odd["is_unlike_training"] == "true"
    assert wrong["observed_rate"] == wrong["is_unlike_training"] == ""


def test_rows_of_a_bin_share_what_they_say(api):
    table = api.app.state.parts.watcher.served.certainty
    values = (20, "Female", "401", True, 0)
    assert table.of(0.1, values) is table.of(0.2, values)


def test_a_model_that_was_registered_without_it_serves(tmp_path):
    source = FolderSource()
    source.promote(1)
    with client(tmp_path, source) as api:
        batch = api.post("/predict/batch?certainty=true", json={"rows": [ROW]}).json()
        assert batch["predictions"][0]["certainty"] is None
        answer = api.post("/predict", json=ROW)
        assert answer.status_code == 200
        assert answer.json()["certainty"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(format=2),
        lambda document: document["fields"].pop(),
        lambda document: document.pop("limit"),
    ],
)
def test_damaged_typical_values_refuse_the_model(tmp_path, change):
    source = Source(change)
    with client(tmp_path, source) as api:
        assert api.post("/predict", json=ROW).status_code == 503
