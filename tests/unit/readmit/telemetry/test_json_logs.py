"""One id leads from the caller to every line of the log."""

import json
import logging
import uuid

import pytest
from starlette.testclient import TestClient

from readmit.client.api_client import Client, Problem
from readmit.telemetry.json_logs import CORRELATION_HEADER, JsonLines, valid_id
from serving.app import create_app
from stack import logs
from tests.support.serving import ROW, FolderSource, read, settings


class Lines(logging.Handler):
    """Keeps the lines that a handler on standard error would write."""

    def __init__(self):
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines = []

    def emit(self, record):
        self.lines.append(json.loads(self.format(record)))

    def of(self, correlation_id):
        return [line for line in self.lines if line.get("correlation_id") == correlation_id]


@pytest.fixture
def lines():
    handler = Lines()
    levels = {}
    for name in ("serving", "readmit.client"):
        logger = logging.getLogger(name)
        levels[logger] = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler
    for logger, level in levels.items():
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture
def api(tmp_path, lines):
    source = FolderSource()
    source.promote(1)
    app = create_app(settings(tmp_path, registry_poll_seconds=3600), source=source, read=read)
    app.state.parts.watcher.check()
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_the_callers_id_is_used(api, lines):
    answer = api.post("/predict", json=ROW, headers={CORRELATION_HEADER: "form-17"})
    assert answer.headers[CORRELATION_HEADER] == "form-17"
    (line,) = lines.of("form-17")
    assert line["request_id"] == answer.headers["x-request-id"] == answer.json()["request_id"]
    assert (line["route"], line["method"], line["status"]) == ("/predict", "POST", 200)
    assert line["ms"] > 0


@pytest.mark.parametrize("sent", ["", "a" * 65, 'x" , "level": "', "é", "a b"])
def test_an_odd_id_is_replaced_by_the_request_id(api, sent):
    answer = api.get("/model", headers={CORRELATION_HEADER: sent.encode("latin-1")})
    assert answer.headers[CORRELATION_HEADER] == answer.headers["x-request-id"]
    assert uuid.UUID(answer.headers[CORRELATION_HEADER])


def test_a_fault_is_a_problem_with_ids_and_its_traceback_is_under_them(api, lines, monkeypatch):
    monkeypatch.setattr(
        api.app.state.parts.watcher.served.compiled, "predict_one", lambda row: 1 / 0
    )
    answer = api.post("/predict", json=ROW, headers={CORRELATION_HEADER: "form-18"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers[CORRELATION_HEADER] == "form-18"
    fault, access = lines.of("form-18")
    assert "ZeroDivisionError" in fault["error"]
    assert "ZeroDivisionError" not in answer.text
    assert access["status"] == 500


def test_the_forms_client_and_the_api_log_the_same_id(api, lines):
    client = Client("http://testserver")
    client._http = api  # the same requests, without a socket
    client.predict(ROW)
    with pytest.raises(Problem):
        client.predict({})
    ids = [line["correlation_id"] for line in lines.lines if line["logger"] == "readmit.client"]
    assert len(set(ids)) == 2
    for correlation_id, status in zip(ids, (200, 422), strict=True):
        own_lines = lines.of(correlation_id)
        assert {line["logger"] for line in own_lines} == {"readmit.client", "serving.access"}
        assert {line["status"] for line in own_lines} == {status}


def test_make_logs_finds_an_id_in_every_component_and_in_rotated_files(
    tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "log"
    folder.mkdir()
    monkeypatch.setenv("READMIT_HOME", str(tmp_path))
    (folder / "ui.log").write_text('{"correlation_id":"form-17"}\n{"correlation_id":"form-18"}\n')
    (folder / "api.log").write_text('{"n":2,"correlation_id":"form-17"}\n')
    (folder / "api.log.1").write_text('{"n":1,"correlation_id":"form-17"}\n')
    logs.main(["--id", "form-17"])
    assert capsys.readouterr().out.splitlines() == [
        'api: {"n":1,"correlation_id":"form-17"}',
        'api: {"n":2,"correlation_id":"form-17"}',
        'ui: {"correlation_id":"form-17"}',
    ]
    with pytest.raises(SystemExit, match="no line with form-19"):
        logs.main(["--id", "form-19"])


def test_an_id_of_letters_digits_and_marks_is_valid():
    assert valid_id("0f3c-1:a.b_c") == "0f3c-1:a.b_c"
    assert valid_id("a\nb") is None
    assert valid_id("a\n") is None


def test_half_a_character_is_written_and_begins_no_line_of_its_own():
    """It was no line at all before, but a traceback on standard error."""
    record = logging.LogRecord("x", logging.INFO, "", 1, "no file \ud800\nfalse line", None, None)
    text = JsonLines().format(record)
    assert "\n" not in text
    assert json.loads(text)["message"] == "no file \ud800\nfalse line"
