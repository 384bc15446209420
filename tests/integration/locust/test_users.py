"""How Locust's users count the answers of servers that are wrong, slow or not valid."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from readmit.settings import ROOT

sys.path.append(str(ROOT / "locust"))

import load_step
import payloads

GOOD = {"probability": 0.2, "model": {"version": "1"}}


@contextmanager
def answering(*bodies, seconds=0.0):
    """Run a server that answers every request with 200 and the bodies in turn, after a while."""
    following = itertools.cycle(bodies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            body = next(following).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def sent(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"age_band": "[50-60)"}]))
    return path


WRONG = [
    *("", "no JSON", "[]", "{}", json.dumps({"probability": 0.2})),
    json.dumps(GOOD | {"probability": 1.2}),
    json.dumps(GOOD | {"probability": None}),
    json.dumps({"predictions": [], "model": {"version": "1"}}),
]


def test_an_answer_that_is_no_prediction_is_an_error(sent):
    bodies = []
    for wrong in WRONG:
        bodies += [json.dumps(GOOD), wrong]
    with answering(*bodies) as host:
        step = load_step.Generator(
            host, ("SingleUser",), ramp_seconds=1, seconds=4, rows=sent
        ).step(16)
    assert 0.3 < step.error_share < 0.7


@pytest.mark.parametrize("wrong", WRONG)
def test_no_wrong_answer_is_a_prediction(wrong):
    assert payloads.is_prediction(json.dumps(GOOD), 1)
    assert not payloads.is_prediction(wrong, 1)
    assert not payloads.is_prediction(
        json.dumps({"predictions": [GOOD, None], "model": {"version": "1"}}), 2
    )
    assert not payloads.is_prediction(
        json.dumps({"predictions": [GOOD], "model": {"version": "1"}}), 2
    )
    assert payloads.is_prediction(
        json.dumps({"predictions": [GOOD, GOOD], "model": {"version": "1"}}), 2
    )


@pytest.mark.parametrize(
    ("body", "seconds", "code"),
    [(GOOD, 0.0, 0), (GOOD, 0.3, 1), ({"probability": 2}, 0.0, 1)],
    ids=str,
)
def test_a_shape_ends_with_the_verdict_of_the_slo(tmp_path, sent, body, seconds, code):
    files = f"{ROOT / 'locust' / 'locustfile.py'},{ROOT / 'locust' / 'shapes.py'}"
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        files,
        "--headless",
        "--shape",
        "smoke",
        "--shape-seconds",
        "3",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LOAD_ROWS": str(sent)}
    with answering(json.dumps(body), seconds=seconds) as host:
        completed = subprocess.run(
            [*command, "--host", host, "--peak-users", "2", "--only-summary", "SingleUser"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert completed.returncode == code, completed.stdout + completed.stderr
