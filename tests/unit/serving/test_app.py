"""The API from the outside, on a small model: answers, refusals, swaps, and missing neighbours."""

import asyncio
import csv
import gc
import gzip
import hashlib
import io
import json
import math
import resource
import shutil
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from readmit import open_files
from readmit.client import access_keys
from readmit.client.access_keys import Scope
from readmit.settings import BadSetting
from readmit.telemetry.metrics import API
from serving import documentation, rate_limit
from serving.api_keys import REQUIRED_SCOPES
from serving.api_settings import ServingSettings
from serving.app import create_app
from serving.instruments import Metrics
from serving.prediction_log import PredictionLog
from serving.problems import Problem
from tests.support.limits import soft_limit
from tests.support.serving import ROW, FolderSource, contract, feature, read, settings

JSON = {"content-type": "application/json"}


@pytest.fixture
def source():
    models = FolderSource()
    models.promote(1)
    return models


def ready(app):
    app.state.parts.watcher.check()
    return app


@pytest.fixture
def api(tmp_path, source):
    app = create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    ready(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def same_api(tmp_path_factory):
    """An API for all tests that change nothing in it and count nothing."""
    models = FolderSource()
    models.promote(1)
    home = tmp_path_factory.mktemp("same")
    app = create_app(settings(home, registry_poll_seconds=3600), source=models, read=read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)  # as in each test: tests/unit/conftest.py
        ready(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def without_gender():
    row = dict(ROW)
    del row["gender"]
    return row


def body_for(path, row):
    if path.startswith("/predict/batch"):
        return {"rows": [row, row]}
    return row


def errors(response):
    assert response.headers["content-type"] == "application/problem+json"
    return {error["field"]: error for error in response.json()["errors"]}


def input_schema(api):
    document = api.get("/openapi.json").json()
    return document["components"]["schemas"]["Encounter"]["properties"]


def test_answer_names_model_history_and_request(api):
    answer = api.post("/predict", json=ROW).json()
    assert answer["model"] == {"name": "readmission", "version": "1", "run_id": "run1"}
    assert answer["history"] == "assumed_first_stay"
    assert 0 < answer["probability"] < 1
    is_high = answer["probability"] >= answer["threshold"]
    assert (answer["risk"] == "high") == is_high
    assert (answer["risk"] == "low") == (not is_high)
    assert api.post("/predict", json=ROW | {"n_prior_stays": 2}).json()["history"] == "given"


def test_it_may_have_as_many_connections_as_the_system_allows(
    tmp_path, source, caplog, monkeypatch
):
    monkeypatch.setattr(open_files, "NEEDED", 10**12)
    app = create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    with soft_limit(1_024), TestClient(app):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard
    assert "files and connections open here" in caplog.text


def test_history_falls_back_when_the_database_is_away(api):
    response = api.post("/predict", json=ROW | {"patient_nbr": 7})
    assert response.status_code == 200
    assert response.json()["history"] == "unavailable"


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/predict/batch?trial=true"])
def test_strict_handling_refuses_an_answer_without_history(api, path):
    body = body_for(path, ROW | {"patient_nbr": 7})
    strict = {"prefer": "respond-async, handling=strict"}
    refused = api.post(path, json=body, headers=strict)
    assert (refused.status_code, refused.json()["code"]) == (503, "history_unavailable")
    assert refused.headers["retry-after"] == "5"
    for headers in ({}, {"prefer": "handling=lenient"}):
        answer = api.post(path, json=body, headers=headers)
        assert answer.status_code == 200
        assert '"history":"unavailable"' in answer.text.replace(" ", "")
    assert api.post("/predict", json=ROW, headers=strict).json()["history"] == "assumed_first_stay"


def test_an_answer_without_history_is_never_that_of_a_first_stay(api):
    stay = ROW | {"patient_nbr": 7}
    for _ in range(3):
        assert api.post("/predict", json=stay).json()["history"] == "unavailable"
    assert api.post("/explain", json=stay).json()["history"] == "unavailable"
    trial = api.post("/predict/batch?trial=true", json={"rows": [stay, stay]}).json()
    assert {row["history"] for row in trial["predictions"]} == {"unavailable"}
    counted = 'readmit_history_lookups_total{outcome="failed"} 5.0'
    assert counted in api.get("/metrics").text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gender": "X"}, "gender"),
        ({"n_medications": 51}, "n_medications"),
        ({"n_medications": "5"}, "n_medications"),
        ({"n_medications": True}, "n_medications"),
        ({"diagnosis_1": "999"}, "diagnosis_1"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_field_is_named(same_api, change, field):
    response = same_api.post("/predict", json=ROW | change)
    assert response.status_code == 422
    assert field in errors(response)


def test_an_error_lists_the_allowed_values(same_api):
    response = same_api.post("/predict", json=ROW | {"gender": "X"})
    assert errors(response)["gender"]["allowed"] == ["Female", "Male", "unknown"]


def test_missing_field_is_named(same_api):
    assert "gender" in errors(same_api.post("/predict", json=without_gender()))


FIELDS = st.sampled_from([*ROW, "n_prior_stays", "contract_hash", "x"])
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
)
ODD = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"n_medications": NaN}',
    b'{"\\ud800": "\\udfff"}',
    b"\xff\xfe",
    b"[" * 100_000,
]
ODD += [
    b'{"a":' * 20_000,
    b'{"gender": "\\ud800", "contract_hash": "x"}',
    b'{"n_medications": 1e999}',
    b'"' + b"9" * 5000,
]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/predict/batch"])
@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_odd_json_is_refused_and_never_a_fault(same_api, path, body):
    assert same_api.post(path, content=body, headers=JSON).status_code < 500


@limits(max_examples=150, deadline=None)
@given(st.dictionaries(FIELDS, VALUES))
def test_fuzzed_fields_are_never_a_fault(same_api, changes):
    body = json.dumps(ROW | changes)
    assert same_api.post("/predict", content=body, headers=JSON).status_code in (200, 409, 422)
    batch = same_api.post("/predict/batch", content=f'{{"rows": [{body}]}}', headers=JSON)
    assert batch.status_code in (200, 422)


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/predict/batch"])
def test_a_body_that_any_page_can_make_a_browser_send_is_refused(same_api, path):
    refused = same_api.post(path, content=json.dumps(ROW), headers={"content-type": "text/plain"})
    assert refused.status_code == 415
    types = refused.headers["accept-post"].split(", ")
    assert types[0] == "application/json"
    assert ("text/csv" in types) == ("batch" in path) == (len(types) > 1)
    assert "application/json" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/predict/batch"])
@pytest.mark.parametrize("media_type", [None, "application/json-seq", "application/jsonp"])
def test_a_body_without_the_media_type_is_refused_with_the_header_to_send(
    same_api, path, media_type
):
    """`fetch(url, {method: "POST", mode: "no-cors", body: new Uint8Array(...)})` sends no type."""
    headers = {}
    if media_type:
        headers["content-type"] = media_type
    refused = same_api.post(path, content=json.dumps(ROW), headers=headers)
    assert refused.status_code == 415
    assert "Content-Type: application/json" in refused.json()["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_parameters_of_the_media_type_do_not_matter(same_api, media_type):
    answer = same_api.post(
        "/predict", content=json.dumps(ROW), headers={"content-type": media_type}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/model", "/data/quarantine", "/docs"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_name_that_is_not_ours_gets_no_answer(same_api, path, host):
    """DNS rebinding: a page at evil.example points this name at our address."""
    refused = same_api.get(path, headers={"host": host})
    assert (refused.status_code, refused.json()["code"]) == (421, "unknown_host")


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.3.7:8000", "api", "API:80"]
)
def test_our_names_and_addresses_are_answered(same_api, host):
    assert same_api.get("/livez", headers={"host": host}).status_code == 200


def test_older_form_gets_its_answer(same_api):
    older = without_gender() | {"gone": 1, "contract_hash": "older"}
    answer = same_api.post("/predict", json=older).json()
    assert answer["contract"]["defaulted"] == ["gender"]
    assert answer["contract"]["ignored"] == ["gone"]


def test_older_form_that_cannot_be_mapped_is_a_conflict(same_api):
    response = same_api.post("/predict", json=ROW | {"gender": "gone", "contract_hash": "older"})
    assert response.status_code == 409
    assert "gender" in errors(response)


def test_batch_answers_good_rows_and_names_bad_ones(api):
    answer = api.post("/predict/batch", json={"rows": [ROW, ROW | {"gender": "X"}, 5]}).json()
    single = api.post("/predict", json=ROW).json()
    assert answer["predictions"][0]["probability"] == pytest.approx(single["probability"])
    assert answer["predictions"][1:] == [None, None]
    assert {error["row"] for error in answer["errors"]} == {1, 2}


def test_batch_as_csv(api):
    text = "n_medications,gender,diagnosis_1,is_medication_changed,=1+1\n"
    text += "20,Female,401,true,\n20,X,401,true,\n1,2,3,4,5,6\n20,Female,401,true,5\n"
    response = api.post("/predict/batch", content=text, headers={"content-type": "text/csv"})
    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert float(lines[0]["probability"]) == api.post("/predict", json=ROW).json()["probability"]
    assert "gender" in lines[1]["error"]
    assert lines[2]["error"]
    assert lines[3]["error"].startswith("`=1+1`: ")  # a spreadsheet would run it otherwise


def test_too_many_rows_and_too_large_a_body(tmp_path, source):
    small = settings(tmp_path, api_max_batch_rows=3, api_max_body_bytes=1000)
    app = ready(create_app(small, source=source, read=read))
    with TestClient(app) as client:
        assert client.post("/predict/batch", json={"rows": [{}] * 4}).status_code == 422
        assert client.post("/predict", content=b" " * 1001, headers=JSON).status_code == 413
        halves = iter([b" " * 600] * 2)
        assert client.post("/predict", content=halves, headers=JSON).status_code == 413


def test_large_bodies_at_the_same_time_are_bounded_and_small_ones_always_pass(tmp_path, source):
    app = ready(
        create_app(settings(tmp_path, api_max_body_bytes=100_000), source=source, read=read)
    )
    stay = json.dumps([ROW]).encode()

    async def run():
        release = asyncio.Event()

        async def slow_body(n_bytes):
            yield stay + b" " * (n_bytes - len(stay))
            await release.wait()

        def post(n_bytes):
            body = slow_body(n_bytes)
            return asyncio.create_task(client.post("/predict/batch", content=body, headers=JSON))

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://api"
        ) as client:
            large = [post(95_000) for _ in range(6)]
            answered: set[asyncio.Task[httpx.Response]] = set()
            waiting = set(large)
            while len(answered) < 2:
                refused, waiting = await asyncio.wait(
                    waiting, return_when=asyncio.FIRST_COMPLETED, timeout=30
                )
                assert refused, "the bodies that are too many are not refused"
                answered |= refused
            small = [post(1_000) for _ in range(20)]
            await asyncio.sleep(0.1)
            release.set()
            later = [*await asyncio.gather(*waiting, *small), await post(95_000)]
            return [task.result() for task in answered], later

    refused, later = asyncio.run(run())
    assert len(refused) == 2
    for response in refused:
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert {response.status_code for response in later} == {200}


def test_contributions_add_up_to_the_score(same_api):
    answer = same_api.post("/explain", json=ROW | {"n_prior_stays": 3}).json()
    total = answer["base"]
    for contribution in answer["contributions"]:
        total += contribution["contribution"]
    p = answer["probability"]
    assert total == pytest.approx(math.log(p / (1 - p)), abs=1e-9)


def test_not_ready_without_a_model(tmp_path):
    app = create_app(settings(tmp_path), source=FolderSource(), read=read)
    with TestClient(app) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.post("/predict", json=ROW).status_code == 503


def test_refused_model_leaves_the_last_good_one(api, source):
    source.promote(2, wrong_by=1e-5)
    api.app.state.parts.watcher.check()
    assert api.post("/predict", json=ROW).json()["model"]["version"] == "1"
    assert "differ" in api.get("/readyz").json()["refused"]["reason"]


def test_swap_changes_schema_and_docs(api, source):
    source.promote(2, contract=contract(feature("n_new", default=1)))
    api.app.state.parts.watcher.check()
    assert "n_new" in input_schema(api)
    assert "n_new" in errors(api.post("/predict", json=ROW))
    features = api.get("/model").json()["contract"]["features"]
    assert "n_new" in [described["name"] for described in features]


def test_starts_from_the_local_copy(tmp_path, source):
    ready(create_app(settings(tmp_path), source=source, read=read))
    away = FolderSource()
    away.down = True
    with TestClient(create_app(settings(tmp_path), source=away, read=read)) as client:
        assert client.post("/predict", json=ROW).status_code == 200
        assert client.get("/readyz").json()["model"]["from"] == "local copy"


def test_thousand_requests_in_flight_survive_a_swap(tmp_path, source):
    app = ready(
        create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    )
    begun = []

    async def slow_body(release):
        """The handler holds its model while the second half of the body is on its way."""
        body = json.dumps(ROW).encode()
        yield body[:10]
        begun.append(1)
        await release.wait()
        yield body[10:]

    async def run():
        release = asyncio.Event()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
        async with client:
            waiting = []
            for number, n_requests in ((1, 400), (2, 700), (3, 1000)):
                source.promote(number, shift=-number)
                await asyncio.to_thread(app.state.parts.watcher.check)
                while len(waiting) < n_requests:
                    request = client.post("/predict", content=slow_body(release), headers=JSON)
                    waiting.append(asyncio.create_task(request))
                while len(begun) < n_requests:
                    await asyncio.sleep(0.01)
            release.set()
            return await asyncio.gather(*waiting)

    pairs = set()
    for response in asyncio.run(run()):
        assert response.status_code == 200
        answer = response.json()
        pairs.add((answer["model"]["version"], answer["probability"]))
    assert len(pairs) == 3  # each version answers with its own probability, never with another's


def test_two_versions_answer_side_by_side(api, source):
    production, previous = api.post("/compare", json=ROW).json()["answers"]
    assert (production["alias"], previous["alias"]) == ("production", "previous")
    assert previous["model"] is None
    assert "only production answers" in previous["detail"]
    source.promote(2, "previous", shift=-1.0)
    api.app.state.parts.watcher.check()
    first, second = api.post("/compare", json=ROW).json()["answers"]
    assert (first["model"]["version"], second["model"]["version"]) == ("1", "2")
    single = api.post("/predict", json=ROW).json()
    assert first["probability"] == single["probability"] < second["probability"]
    assert api.get("/readyz").json()["beside"]["previous"]["version"] == "2"
    error = errors(api.post("/compare?alias=x", json=ROW))["alias"]
    assert error["allowed"] == ["previous", "challenger"]


def test_a_row_is_mapped_to_the_contract_of_another_version_or_the_answer_says_why_not(api, source):
    source.promote(2, "previous", contract=contract(feature("n_new", default=1)))
    api.app.state.parts.watcher.check()
    assert api.post("/compare", json=ROW).json()["answers"][1]["contract"]["defaulted"] == ["n_new"]
    narrow = feature("n_medications", default=10, max=15)
    source.promote(3, "previous", contract=contract(replaced=narrow))
    api.app.state.parts.watcher.check()
    other = api.post("/compare", json=ROW).json()["answers"][1]
    assert "cannot be mapped" in other["detail"]
    assert "probability" not in other


def test_an_alias_has_one_standby_model_and_none_that_fails_its_checks(api, source):
    watcher = api.app.state.parts.watcher
    for number in range(2, 6):
        source.promote(number, "previous")
        watcher.check()
    [standby] = watcher.standbys.values()
    assert standby.version.version == "5"
    source.promote(6, "previous", wrong_by=0.1)
    watcher.check()
    assert watcher.standbys == {}
    assert api.get("/readyz").json()["refused"] is None
    source.versions["previous"] = source.versions["production"]
    watcher.check()
    assert watcher.standbys == {}


def test_a_standby_model_is_in_memory_only_while_it_is_used(api, source):
    source.promote(2, "previous")
    api.app.state.parts.watcher.check()
    standby = api.app.state.parts.watcher.standbys["previous"]
    assert standby._model is None
    assert api.post("/compare", json=ROW).json()["answers"][1]["model"]["version"] == "2"
    api.app.state.parts.watcher.check()
    assert standby.model() is standby.model()
    standby.release(idle_seconds=0)
    assert standby._model is None
    shutil.rmtree(standby._folder)
    assert api.post("/compare", json=ROW).json()["answers"][1]["model"] is None


def test_a_standby_model_is_loaded_at_a_start_without_the_registry(tmp_path, source):
    source.promote(2, "previous")
    ready(create_app(settings(tmp_path), source=source, read=read))
    source.down = True
    with TestClient(create_app(settings(tmp_path), source=source, read=read)) as client:
        assert client.post("/compare", json=ROW).json()["answers"][1]["model"]["version"] == "2"


def shadowed(api, version):
    """Return the comparisons with a challenger by their outcome, and the sum of the differences."""
    api.app.state.parts.services.shadow.score()
    outcomes = {}
    difference = 0.0
    for family in text_string_to_metric_families(api.get("/metrics").text):
        for sample in family.samples:
            if sample.labels.get("version") != version:
                continue
            if sample.name == "readmit_shadow_comparisons_total":
                outcomes[sample.labels["outcome"]] = sample.value
            if sample.name == "readmit_shadow_score_difference_sum":
                difference += sample.value
    return outcomes, difference


def test_a_challenger_scores_what_production_answered_and_changes_no_answer(api, source):
    alone = api.post("/predict", json=ROW).json()
    source.promote(2, "challenger", shift=-2.1)
    source.promote(3, "previous")
    api.app.state.parts.watcher.check()
    api.post("/predict", json=ROW | {"n_medications": 0})
    answer = api.post("/predict", json=ROW | {"n_medications": 20}).json()
    api.post("/predict/batch?trial=true", json={"rows": [ROW]})
    assert (answer["probability"], answer["model"]) == (alone["probability"], alone["model"])
    outcomes, difference = shadowed(api, "2")
    assert outcomes == {"agree": 2.0}
    assert 0.005 < difference < 0.05
    source.promote(4, "challenger", shift=-9.0)
    api.app.state.parts.watcher.check()
    api.post("/predict", json=ROW)
    assert shadowed(api, "4")[0] == {"disagree": 1.0}


def test_a_challenger_with_another_contract_is_mapped_or_counted_as_failed(api, source):
    source.promote(2, "challenger", contract=contract(feature("n_new", default=1)))
    api.app.state.parts.watcher.check()
    api.post("/predict", json=ROW | {"n_prior_stays": 3})
    assert shadowed(api, "2") == ({"agree": 1.0}, pytest.approx(0, abs=1e-12))
    narrow = feature("n_medications", default=10, max=15)
    source.promote(3, "challenger", contract=contract(replaced=narrow))
    api.app.state.parts.watcher.check()
    api.post("/predict", json=ROW)
    assert shadowed(api, "3")[0] == {"failed": 1.0}


def test_data_routes_say_why_they_are_away(api):
    for path in (
        "/data/batches",
        "/data/quarantine",
        "/data/freshness",
        "/data/monitoring",
        "/data/outcomes",
        "/data/inbox",
        "/model/history",
    ):
        response = api.get(path)
        assert response.status_code == 503
        assert "does not answer" in response.json()["detail"]


def test_seeds(same_api):
    assert same_api.get("/model/seeds/icd9_codes").json()["rows"][0]["code"] == "250"
    assert same_api.get("/model/seeds/nope").status_code == 404


def test_docs_load_nothing_from_elsewhere(api):
    page = api.get("/docs").text
    assert "https://" not in page
    assert api.get("/docs/assets/swagger-ui-bundle.js").status_code == 200


def test_keys_and_rate(tmp_path, source):
    digest = hashlib.sha256(b"secret").hexdigest()
    guarded = settings(tmp_path, api_key_hashes=digest, api_rate_per_second=1)
    with TestClient(ready(create_app(guarded, source=source, read=read))) as client:
        assert client.get("/model").status_code == 401
        assert client.get("/livez").status_code == 200
        headers = {"X-API-Key": "secret"}
        assert client.get("/model", headers=headers).status_code == 200
        assert client.get("/model", headers=headers).status_code == 429


def test_docs_open_and_can_authorise_when_keys_are_on(tmp_path, source):
    """A browser cannot send a key for a page; these pages hold no data of a patient."""
    _, entry = key_with(Scope.PREDICT)
    keys = settings(tmp_path, api_keys=entry)
    with TestClient(ready(create_app(keys, source=source, read=read))) as client:
        assets = ("/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css")
        for path in ("/docs", "/openapi.json", *assets):
            assert client.get(path).status_code == 200, path
        assert client.get("/docs/assets/nothing.js").status_code == 401
        document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"
    needed = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed[method, path] = operation.get("security")
    assert needed["post", "/predict/batch"] == [{"ApiKey": ["predict"]}]
    assert needed["get", "/data/batches"] == [{"ApiKey": ["data"]}]
    assert needed["head", "/model"] == [{"ApiKey": []}]
    assert needed["get", "/livez"] is None


def test_without_keys_the_document_requires_none(api):
    document = api.get("/openapi.json").json()
    assert "ApiKey" in document["components"]["securitySchemes"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "security" not in operation


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/model", "/model/seeds/icd9_codes", "/docs"]
)
def test_head_is_answered_where_get_is(api, path):
    """Uptime robots, load balancers and link checkers send it."""
    head = api.head(path)
    get = api.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.content == b""
    assert 'method="HEAD"' in api.get("/metrics").text


def test_head_says_that_the_api_is_not_ready(tmp_path):
    app = create_app(settings(tmp_path), source=FolderSource(), read=read)
    assert TestClient(app).head("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "allow", "line"),
    [
        ("GET", "/predict", "POST", "curl -H 'Content-Type: application/json' --data-binary"),
        ("HEAD", "/predict", "POST", ""),
        ("PUT", "/predict/batch", "POST", "-H 'Content-Type: text/csv' --data-binary @stays.csv"),
        ("POST", "/livez", "GET, HEAD", "curl 'http://testserver/livez'"),
        ("DELETE", "/model/seeds/x", "GET, HEAD", "curl 'http://testserver/model/seeds/{seed}'"),
        ("OPTIONS", "/explain", "POST", "'http://testserver/explain'"),
        ("POST", "/docs/assets/swagger-ui.css", "GET, HEAD", "'http://testserver/docs'"),
    ],
)
def test_another_method_is_refused_with_the_line_to_use(same_api, method, path, allow, line):
    refused = same_api.request(method, path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert refused.json()["params"]["allow"] == allow
        assert line in refused.json()["detail"]


def test_the_line_to_use_has_a_key_when_keys_are_on(tmp_path, source):
    header, entry = key_with(Scope.PREDICT)
    keys = settings(tmp_path, api_keys=entry)
    with TestClient(ready(create_app(keys, source=source, read=read))) as client:
        refused = client.post("/predict", content=b"{}", headers=header)
    line = refused.json()["params"]["line"]
    assert refused.status_code == 415
    assert '-H "X-API-Key: $API_KEY"' in line
    assert header["X-API-Key"] not in refused.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/predict/batch"])
def test_json_with_a_byte_order_mark_is_read(same_api, path, encoding):
    """PowerShell and many programs for Windows write one."""
    body = body_for(path, ROW)
    plain = same_api.post(path, json=body).json()
    marked = same_api.post(path, content=json.dumps(body).encode(encoding), headers=JSON)
    assert marked.status_code == 200
    for answer in (plain, marked.json()):
        answer.pop("request_id")
    if path != "/predict/batch":
        assert marked.json()["request_id"]
    assert str(plain)[:60] == str(marked.json())[:60]


@pytest.mark.parametrize(
    ("value", "is_integer"),
    [
        ("5.0", True),
        ("5e0", True),
        ("-0.0", True),
        ("5.5", False),
        ("1e400", False),
        ("true", False),
        ('"5"', False),
        ('"5.0"', False),
        ("null", False),
    ],
)
def test_an_integer_may_have_a_fraction_of_zero_as_in_json_schema(same_api, value, is_integer):
    text = json.dumps(ROW | {"n_medications": 0})
    body = text.replace('"n_medications": 0', f'"n_medications": {value}')
    assert body != text
    answer = same_api.post("/predict", content=body, headers=JSON)
    if is_integer:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 422
    batch = same_api.post("/predict/batch", content=f'{{"rows": [{body}, {body}]}}', headers=JSON)
    if batch.status_code == 200:  # JSON itself has no 1e400
        assert (batch.json()["predictions"][1] is not None) == is_integer
    if value == "5.0":
        whole = same_api.post("/predict", json=ROW | {"n_medications": 5}).json()
        assert answer.json()["probability"] == whole["probability"]


def key_with(*scopes, last_day=None):
    """Return the header and the entry of a new key."""
    secret, key = access_keys.new("ward-3", scopes, last_day)
    return {"X-API-Key": secret}, key.entry()


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/predict", Scope.PREDICT),
        ("POST", "/predict/batch", Scope.PREDICT),
        ("POST", "/explain", Scope.PREDICT),
        ("POST", "/compare", Scope.PREDICT),
        ("GET", "/data/batches", Scope.DATA),
        ("GET", "/data/quarantine", Scope.DATA),
        ("GET", "/data/freshness", Scope.DATA),
        ("GET", "/data/monitoring", Scope.DATA),
        ("GET", "/data/outcomes", Scope.DATA),
        ("GET", "/data/inbox", Scope.DATA),
        ("POST", "/submit", Scope.SUBMIT),
        ("GET", "/model", None),
        ("GET", "/model/history", None),
    ],
)
def test_a_key_may_only_do_what_its_scopes_allow(tmp_path, source, method, path, scope):
    others, without = key_with(*(set(Scope) - {scope}))
    alone, only = key_with(scope or Scope.SUBMIT)
    keys = settings(tmp_path, api_keys=f"{without},{only}")
    with TestClient(ready(create_app(keys, source=source, read=read))) as client:
        refused = client.request(method, path, json=ROW, headers=others)
        allowed = client.request(method, path, json=ROW, headers=alone)
        unknown = client.request(method, path, json=ROW, headers={"X-API-Key": "x"})
    assert allowed.status_code not in (401, 403)
    assert unknown.status_code == 401
    if scope is None:
        assert refused.status_code == allowed.status_code
    else:
        assert (refused.status_code, refused.json()["params"]) == (403, {"scope": scope})


def test_every_route_for_stays_and_data_needs_a_scope():
    open_to_every_key = ("/model", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics")
    open_to_every_key += ("/peers",)  # which asks for a token of its own
    app = create_app(ServingSettings(), source=FolderSource(), read=read)
    for route in app.routes:
        has_scope = route.path.split("/")[1] in REQUIRED_SCOPES
        assert has_scope != route.path.startswith(open_to_every_key), route.path


def test_a_key_is_refused_after_its_last_day(tmp_path, source):
    today = datetime.now(UTC).date()
    old, past = key_with(Scope.PREDICT, last_day=today - timedelta(days=1))
    new, current = key_with(Scope.PREDICT, last_day=today + timedelta(days=1))
    keys = settings(tmp_path, api_keys=f"{past} {current}")
    with TestClient(ready(create_app(keys, source=source, read=read))) as client:
        assert client.post("/predict", json=ROW, headers=old).status_code == 401
        assert client.post("/predict", json=ROW, headers=new).status_code == 200


def test_a_hash_without_a_name_has_every_scope(tmp_path, source):
    keys = settings(tmp_path, api_key_hashes=hashlib.sha256(b"secret").hexdigest().upper())
    with TestClient(ready(create_app(keys, source=source, read=read))) as client:
        headers = {"X-API-Key": "secret"}
        assert client.post("/predict", json=ROW, headers=headers).status_code == 200
        assert client.get("/data/batches", headers=headers).status_code == 503  # no database


PROXY = "10.0.0.9"


def answers_at_one_a_second(tmp_path, source, *requests, **values):
    """Send requests, each a method, a path and httpx' options, to an API that takes one a second."""
    limited = settings(tmp_path, api_rate_per_second=1, **values)
    app = ready(create_app(limited, source=source, read=read))
    with TestClient(app, client=(PROXY, 50_000)) as client:
        return [client.request(method, path, **options) for method, path, options in requests]


def test_a_batch_and_an_explanation_count_by_their_cost(tmp_path, source):
    def call(path, body, caller):
        return ("POST", path, {"json": body, "headers": {"X-Forwarded-For": caller}})

    answers = answers_at_one_a_second(
        tmp_path,
        source,
        call("/predict/batch", {"rows": [ROW] * 500}, "203.0.113.1"),
        call("/predict", ROW, "203.0.113.1"),
        call("/explain", ROW, "203.0.113.2"),
        call("/predict", ROW, "203.0.113.2"),
        call("/predict", ROW, "203.0.113.3"),
        api_trusted_proxies="10.0.0.0/8",
    )
    assert [answer.status_code for answer in answers] == [200, 429, 200, 429, 200]
    assert 40 < int(answers[1].headers["retry-after"]) <= 51
    assert 5 < int(answers[3].headers["retry-after"]) <= 11
    assert "in each process" in answers[1].json()["detail"]


MADE_UP = {
    "one address": [("X-Forwarded-For", "203.0.113.{}")],
    "a list": [("X-Forwarded-For", "198.51.100.1, 203.0.113.{}")],
    "other names": [("X-Real-IP", "203.0.113.{}"), ("Forwarded", "for=203.0.113.{}")],
    "many": [(f"X-Forwarded-{n}", "203.0.113.{}") for n in ("Host", "Client-IP", "Proto")],
}
# What reaches the API behind a proxy that adds the address of the caller, which is the last one.
ADDED = {
    "to the line": [("X-Forwarded-For", "203.0.113.{}, 198.51.100.7")],
    "as a line": [("X-Forwarded-For", "203.0.113.{}"), ("X-Forwarded-For", "198.51.100.7")],
    "behind trusted ones": [("X-Forwarded-For", "203.0.113.{}, 198.51.100.7, 10.0.0.5")],
    "behind a trusted name": [("X-Forwarded-For", "10.0.0.{}, 198.51.100.7")],
    "with a port": [("X-Forwarded-For", "198.51.100.7:4{}")],
    "as IPv6": [("X-Forwarded-For", "2001:db8::{}")],
    "as IPv6 with a port": [("X-Forwarded-For", "[2001:db8::{}]:443")],
}


def spoofed(headers):
    """Return three requests that say each time that they come from another address."""
    requests = []
    for n in range(3):
        lines = [(name, value.replace("{}", str(n))) for name, value in headers]
        requests.append(("GET", "/model", {"headers": lines}))
    return requests


@pytest.mark.parametrize("kind", MADE_UP)
def test_an_address_that_a_caller_makes_up_is_not_believed(tmp_path, source, kind, caplog):
    caplog.set_level("INFO")
    answers = answers_at_one_a_second(tmp_path, source, *spoofed(MADE_UP[kind]))
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    for record in caplog.records:
        assert "203.0.113" not in str(record.__dict__)


@pytest.mark.parametrize("kind", ADDED)
def test_behind_a_proxy_the_address_is_what_the_proxy_added(tmp_path, source, kind):
    answers = answers_at_one_a_second(
        tmp_path, source, *spoofed(ADDED[kind]), api_trusted_proxies="10.0.0.0/8"
    )
    assert [answer.status_code for answer in answers] == [200, 429, 429]


def test_callers_by_ipv4_do_not_share_a_limit_when_a_proxy_writes_them_as_ipv6(tmp_path, source):
    answers = answers_at_one_a_second(
        tmp_path,
        source,
        *spoofed([("X-Forwarded-For", "::ffff:198.51.100.{}")]),
        api_trusted_proxies="10.0.0.0/8",
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    "proxies", ["*", "0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy", "10.0.0.1, ", ","]
)
def test_a_list_of_proxies_that_means_everybody_or_nobody_is_refused(tmp_path, proxies):
    with pytest.raises(BadSetting, match="READMIT_API_TRUSTED_PROXIES"):
        settings(tmp_path, api_trusted_proxies=proxies)


def test_callers_cannot_crowd_each_other_out_of_the_limit(monkeypatch):
    monkeypatch.setattr(rate_limit, "MAX_CALLERS", 10)
    clock = [100.0]
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: clock[0])
    limit = rate_limit.RateLimit(1.0)

    def is_let_in(caller):
        try:
            limit.check(caller)
        except Problem:
            return False
        return True

    assert is_let_in("busy")
    limit.spend("busy", 1000)
    assert sum(is_let_in(f"made up {n}") for n in range(100)) == 10
    assert not is_let_in("busy")
    clock[0] += 5  # the other buckets are full again, and make room
    for n in range(5):
        assert is_let_in(f"new {n}")
    assert not is_let_in("busy")


def test_ipv6_callers_count_by_their_network():
    same = {rate_limit.network_of(f"2001:db8:0:1::{n:x}") for n in range(100)}
    assert same == {"2001:db8:0:1::/64"}
    assert rate_limit.network_of("2001:db8:0:2::1") not in same
    assert rate_limit.network_of("192.0.2.7") == "192.0.2.7"


def test_the_openapi_document_is_built_once_for_a_contract(api, source, monkeypatch):
    built = []
    build = documentation.document

    def counted_build(*arguments):
        built.append(1)
        return build(*arguments)

    monkeypatch.setattr(documentation, "document", counted_build)
    first = api.get("/openapi.json").json()
    for _ in range(3):
        assert api.get("/openapi.json").json() == first
    assert len(built) == 1
    source.promote(2, contract=contract(feature("n_new", default=1)))
    api.app.state.parts.watcher.check()
    assert "n_new" in input_schema(api)
    assert len(built) == 2


def test_log_is_bounded_and_loss_is_counted(tmp_path, source):
    app = ready(create_app(settings(tmp_path, prediction_log_rows=2), source=source, read=read))
    with TestClient(app) as client:
        for _ in range(5):
            client.post("/predict", json=ROW)
        text = client.get("/metrics").text
    assert app.state.parts.services.log.waiting <= 2
    assert float(text.split("\nreadmit_log_lost_total ")[1].split()[0]) >= 3


def test_the_log_is_filled_and_written_at_once_and_every_row_is_accounted_for(tmp_path):
    written = []
    added = []
    end = time.monotonic() + 1
    log = PredictionLog(settings(tmp_path, prediction_log_rows=1), Metrics(), write=written.extend)

    def until_the_end(act):
        while time.monotonic() < end:
            act()

    def add():
        log.add([(1,), (2,)])
        added.extend((1, 2))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(until_the_end, (add, add, log.flush)))
    finally:
        sys.setswitchinterval(interval)
    lost = log._metrics.counter("readmit_log_lost_total")._value.get()
    assert len(written) + lost + log.waiting == len(added) > 100


def test_the_garbage_collector_passes_over_a_model_in_use_and_frees_one_after_a_swap(
    api, source, monkeypatch
):
    monkeypatch.undo()  # the real gc.unfreeze
    gc.unfreeze()
    watcher = api.app.state.parts.watcher
    before = weakref.ref(watcher.served.requests.model)
    source.promote(2)
    watcher.check()
    assert before() is None
    model = watcher.served.requests.model
    for tracked in gc.get_objects():
        assert tracked is not model


def test_metrics_are_those_of_the_list(api):
    api.post("/predict", json=ROW)
    shown = {}
    for line in api.get("/metrics").text.splitlines():
        if "# TYPE" in line:
            _, _, name, kind = line.split()
            if not name.endswith("_created"):
                shown[name] = kind
    assert shown == {metric.name: metric.kind.value for metric in API}


def test_headers(api):
    headers = api.get("/livez").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert orjson.loads(api.get("/nowhere").content)["status"] == 404


def test_requests_in_flight_count_the_one_that_asks(api):
    for _ in range(2):
        assert "\nreadmit_requests_in_flight 1.0\n" in api.get("/metrics").text


def test_a_trial_is_scored_but_neither_counted_nor_logged(api):
    def counted():
        lines = api.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith("readmit_predictions_total")]

    log = api.app.state.parts.services.log
    before = counted()
    waiting = log.waiting
    answer = api.post("/predict/batch?trial=true", json={"rows": [ROW]}).json()
    assert 0 < answer["predictions"][0]["probability"] < 1
    assert (counted(), log.waiting) == (before, waiting)
    api.post("/predict/batch", json={"rows": [ROW]})
    assert counted() != before


@pytest.mark.parametrize("is_asking", [True, False], ids=["while asking", "while answered"])
def test_a_caller_who_hangs_up_is_no_error_of_the_api(api, caplog, is_asking):
    request = {"type": "http.request", "body": json.dumps(ROW).encode()}
    if is_asking:
        request |= {"body": b'{"n_', "more_body": True}
    messages = iter([request, {"type": "http.disconnect"}])
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/explain",
        "raw_path": b"/explain",
    }
    scope |= {
        "headers": [(b"host", b"api"), (b"content-type", b"application/json")],
        "query_string": b"",
        "client": ("caller", 1),
    }
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)
        raise RuntimeError(
            "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
        )

    asyncio.run(api.app(scope | {"server": ("api", 80), "scheme": "http"}, receive, send))
    assert bool(sent) is not is_asking
    assert [line for line in caplog.records if line.exc_info] == []
    counted = api.get("/metrics").text
    assert 'readmit_requests_total{method="POST",route="/explain",status="499"} 1.0' in counted


@pytest.mark.parametrize(
    "path", ["/predict/", "//predict", "/docs/", "/docs/assets", "/metrics/", "/model/"]
)
def test_nothing_is_redirected(same_api, path):
    answer = same_api.post(path, json=ROW, headers={"host": "api"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "location" not in answer.headers


def test_a_compressed_body_is_refused_with_the_reason(same_api):
    sent = gzip.compress(json.dumps(ROW).encode())
    refused = same_api.post("/predict", content=sent, headers={"content-encoding": "gzip"})
    assert (refused.status_code, refused.headers["accept-encoding"]) == (415, "identity")
    assert refused.json()["code"] == "compressed_body"
