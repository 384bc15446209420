"""Bodies of batches as callers send them: media types, character sets and forms."""

import hashlib
import time

import pytest
from starlette.testclient import TestClient

from readmit.client import access_keys
from readmit.client.access_keys import Scope
from serving.app import create_app
from tests.support.serving import FolderSource, read, settings

TABLE = "n_medications,gender,diagnosis_1,is_medication_changed\n20,Male,401,true\n"
ACCEPT = {"accept": "application/json"}
OWN = {"origin": "http://testserver"}


@pytest.fixture
def api(tmp_path):
    return client(tmp_path)


def client(home, **values):
    source = FolderSource()
    source.promote(1)
    app = create_app(settings(home, **values), source=source, read=read)
    app.state.parts.watcher.check()
    return TestClient(app, raise_server_exceptions=False)


def post(api, body, media_type, **headers):
    headers = ACCEPT | {"content-type": media_type} | headers
    return api.post("/predict/batch", content=body, headers=headers)


def form(*parts, boundary="b0"):
    """Return a form of these parts: head and content."""
    lines = [f"--{boundary}\r\n{head}\r\n\r\n{content}\r\n" for head, content in parts]
    return "".join([*lines, f"--{boundary}--\r\n"])


FILE = 'Content-Disposition: form-data; name="file"; filename="stays.csv"'
FORM = "multipart/form-data; boundary=b0"


@pytest.mark.parametrize(
    "media_type",
    ["text/csv", "application/csv", "application/vnd.ms-excel", "Text/CSV;header=present"],
)
def test_a_csv_has_many_names(api, media_type):
    answer = post(api, TABLE, media_type)
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["probability"]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf-8", "utf-8"),
        ("UTF8", "utf-8-sig"),
        ("us-ascii", "ascii"),
        ('"utf-16"', "utf-16"),
        ("utf-16le", "utf-16-le"),
        ("utf-16be", "utf-16-be"),
        ("latin-1", "latin-1"),
        ("iso-8859-1", "latin-1"),
        ("iso-8859-15", "iso-8859-15"),
        ("windows-1252", "cp1252"),
    ],
)
def test_the_character_set_is_followed(api, charset, codec):
    table = TABLE
    if codec not in ("ascii",):
        table = TABLE + "20,Médica,401,true\n"
    answer = post(api, table.encode(codec), f"text/csv; charset={charset}")
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]


@pytest.mark.parametrize(
    "charset", ["zlib", "utf-7", "ebcdic-cp-us", "nonsense", "idna", "x" * 999]
)
def test_an_unknown_character_set_is_refused_with_those_that_are_read(api, charset):
    refused = post(api, TABLE, f"text/csv; charset={charset}")
    assert (refused.status_code, refused.json()["code"]) == (415, "wrong_media_type")
    assert "text/csv; charset=utf-16" in refused.json()["detail"]


def test_a_body_that_is_not_in_its_character_set_is_refused(api):
    for body, charset in ((b"\xff\xfe\x00", "utf-16"), (b"gender\n\xe9", "utf-8")):
        refused = post(api, body, f"text/csv; charset={charset}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_csv")


def test_a_form_with_a_file_is_scored_for_the_own_page(api):
    sent = api.post(
        "/predict/batch", files={"file": ("s.csv", TABLE, "text/csv")}, headers=ACCEPT | OWN
    )
    assert sent.status_code == 200
    assert sent.json()["predictions"][0]
    named = {"upload": ("s.csv", TABLE.encode("utf-16"), "text/csv; charset=utf-16")}
    assert api.post("/predict/batch", files=named, headers=ACCEPT | OWN).json()["predictions"][0]
    answer = api.post("/predict/batch", files={"file": ("s.csv", TABLE)}, headers=OWN)
    assert answer.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "http://testserver.evil.example",
        "http://testserver:81",
        "testserver",
        "://testserver",
        "file://testserver",
        "",
    ],
)
def test_a_form_of_a_foreign_page_is_refused(api, origin):
    """Browsers send a form to any address without asking it."""
    headers = {"origin": origin} if origin is not None else {}
    refused = post(api, form((FILE, TABLE)), FORM, **headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "foreign_form")
    assert "Origin: http://testserver" in refused.json()["detail"]


def test_a_form_with_a_key_needs_no_origin(tmp_path):
    secret, key = access_keys.new("ehr", [Scope.PREDICT], None)
    with client(tmp_path, api_keys=key.entry()) as api:
        good = post(api, form((FILE, TABLE)), FORM, **{"x-api-key": secret})
        assert good.status_code == 200
        wrong = post(api, form((FILE, TABLE)), FORM, **{"x-api-key": "x"}, **OWN)
        assert wrong.status_code == 401
        assert post(api, form((FILE, TABLE)), FORM, **OWN).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        "",
        TABLE,
        form(),
        form((FILE, TABLE), (FILE, TABLE)),
        form((FILE, TABLE)).replace("--b0--", "--b0"),
        form((FILE, TABLE))[:-20],
        form((FILE, TABLE), boundary="other"),
        "--b0\r\n" + "x" * 9_000 + "\r\n\r\n" + TABLE + "\r\n--b0--",
        "--b0\r\n\r\n--b0--\r\n",
        "--b0\r\n" * 50_000,
    ],
)
def test_a_form_without_one_file_is_refused(api, body):
    refused = post(api, body, FORM, **OWN)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_form")


@pytest.mark.parametrize(
    "media_type",
    ["multipart/form-data", 'multipart/form-data; boundary=""', "multipart/form-data; boundary=é"],
)
def test_a_form_without_a_boundary_is_refused(api, media_type):
    headers = {**ACCEPT, **OWN, "content-type": media_type.encode("latin-1")}
    refused = api.post("/predict/batch", content=form((FILE, TABLE)), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_form")


@pytest.mark.parametrize(
    "media_type", ["multipart/mixed; boundary=b0", "application/x-www-form-urlencoded", "csv"]
)
def test_other_types_are_refused_with_the_lines_to_use(api, media_type):
    refused = post(api, form((FILE, TABLE)), media_type, **OWN)
    assert refused.status_code == 415
    lines = refused.json()["params"]["line"]
    assert (
        "-H 'Content-Type: text/csv' --data-binary @stays.csv 'http://testserver/predict/batch'"
        in lines
    )


@pytest.mark.parametrize(
    "part", [b"--b0\r\n", b"\r\n--b0", b"\r\n\r\n", b"--b0\r\n\r\n\r\n", b":", b"\r\n"]
)
def test_a_form_of_many_parts_costs_no_time(api, part):
    body = b"--b0\r\n" + part * (15_000_000 // len(part))
    began = time.perf_counter()
    refused = post(api, body, FORM, **OWN)
    assert refused.status_code in (422, 413)
    assert time.perf_counter() - began < 3


def test_a_form_may_be_as_large_as_any_batch(api):
    limit = api.app.state.parts.settings.api_max_body_bytes
    refused = post(api, b" " * (limit + 1), FORM, **OWN)
    assert refused.status_code == 413
    assert hashlib.sha256(refused.content)
