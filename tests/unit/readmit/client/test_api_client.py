"""The client of the API over a real socket: what it sends, and what becomes of answers that are not
answers.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from readmit.client.api_client import ApiDown, Client, Problem

PROBLEM = {
    "title": "Unprocessable",
    "status": 422,
    "detail": "1 field",
    "errors": [{"field": "age_band", "detail": "no"}],
}
ANSWERS = {
    "/problem": (422, json.dumps(PROBLEM)),
    "/proxy": (502, "<html>Bad gateway</html>"),
    "/list": (503, "[1]"),
    "/model/history": (200, json.dumps({"promotions": [{"decision": "keep"}]})),
    "/data/batches": (200, json.dumps({"batches": [{"batch_id": "b"}]})),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = ANSWERS[self.path]
        self._send(status, body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._send(
            200,
            json.dumps(
                {"path": self.path, "sent": json.loads(body), "key": self.headers.get("X-API-Key")}
            ),
        )

    def _send(self, status, body):
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}", api_key="k") as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_sent_as_it_is(api):
    answer = api.submit("ward 3/ñ.csv", b'"a,b"')
    assert answer == {"path": "/submit?name=ward%203%2F%C3%B1.csv", "sent": "a,b", "key": "k"}


def test_rows_and_key_are_sent(api):
    answer = api.predict_batch([{"a": 1}])
    assert answer == {"path": "/predict/batch", "sent": {"rows": [{"a": 1}]}, "key": "k"}
    assert api.predict({"a": 1})["sent"] == {"a": 1}


def test_rows_are_unpacked_from_their_answer(api):
    assert api.history() == [{"decision": "keep"}]
    assert api.batches() == [{"batch_id": "b"}]


@pytest.mark.parametrize(
    ("path", "status", "title", "n_errors"),
    [
        ("/problem", 422, "Unprocessable", 1),
        ("/proxy", 502, "Bad Gateway", 0),
        ("/list", 503, "Service Unavailable", 0),
    ],
)
def test_a_refusal_keeps_its_message(api, path, status, title, n_errors):
    with pytest.raises(Problem) as caught:
        api._request("GET", path)
    assert (caught.value.status, caught.value.title, len(caught.value.errors)) == (
        status,
        title,
        n_errors,
    )


def test_no_answer_is_its_own_error():
    with (
        Client("http://127.0.0.1:9", timeout=2) as client,
        pytest.raises(ApiDown, match=r"127\.0\.0\.1"),
    ):
        client.model()
