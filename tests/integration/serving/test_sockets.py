"""A real process answers a problem to bytes that are not HTTP, and logs no traceback."""

import json
import signal
import socket
import time

import httpx
import pytest

from serving.exchange import SECURITY_HEADERS
from tests.support.api import running
from tests.support.services import wait_until
from tests.support.serving import ROW

HOST = b"Host: localhost\r\n"
STAY = json.dumps(ROW).encode()
ASK = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
WHOLE = ASK + b"Content-Length: %d\r\n\r\n" % len(STAY) + STAY
NO_HTTP = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "method": b"BREW /predict HTTP/1.1\r\n" + HOST + b"\r\n",
    "version": b"GET /model HTTP/9.9\r\n" + HOST + b"\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "length": ASK + b"Content-Length: -1\r\n\r\n",
    "two lengths": ASK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + STAY,
    "length and chunks": ASK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk": ASK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "folded": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: a\r\n b\r\n\r\n",
    "address": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many headers": b"GET /livez HTTP/1.1\r\n"
    + HOST
    + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    home = tmp_path_factory.mktemp("api")
    with running(home, 1, READMIT_PREDICTION_LOG_ROWS="100") as (url, _):
        yield httpx.URL(url), home / "api.log"


def talk(url: httpx.URL, *pieces: bytes) -> bytes:
    """Send the pieces until the server closes; returns all bytes of its answer."""
    got = b""
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while received := connection.recv(1 << 16):
                got += received
        except ConnectionError:
            pass
    return got


def problem(got: bytes) -> httpx.Response:
    """Return an answer after checking what every refusal has."""
    head, _, body = got.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    answer = httpx.Response(
        int(status.split()[1]),
        headers=[tuple(line.split(b": ", 1)) for line in lines],
        content=body,
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(SECURITY_HEADERS) <= set(answer.headers.raw)
    assert answer.headers["x-request-id"]
    assert answer.json()["status"] == answer.status_code
    return answer


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP.keys())
def test_bytes_that_are_not_http_get_a_problem(api, sent):
    assert problem(talk(api[0], sent)).status_code == 400


def test_an_endless_header_is_cut_off_and_nobody_waits(api):
    began = time.monotonic()
    talk(api[0], b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: ", *[b"y" * 1_000_000] * 100)
    assert httpx.get(api[0].join("/livez"), timeout=5, trust_env=False).is_success
    assert time.monotonic() - began < 5


def test_a_caller_that_sends_thousands_of_requests_ahead_is_cut_off(api):
    """100 connections with 8,000 requests each once blocked a process for a minute."""
    url = api[0]
    connections = []
    began = time.monotonic()
    for _ in range(20):
        connection = socket.create_connection((url.host, url.port))
        connection.setblocking(False)
        connection.send((b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n") * 8_000)
        connections.append(connection)
    assert httpx.get(url.join("/livez"), timeout=30, trust_env=False).is_success
    assert time.monotonic() - began < 5
    for connection in connections:
        connection.close()


def test_a_few_requests_ahead_are_answered_in_order(api):
    ahead = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    last = b"GET /nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    got = talk(api[0], ahead * 8 + last)
    assert got.count(b"HTTP/1.1 200 OK") == 8
    assert b"HTTP/1.1 404 Not Found" in got.rpartition(b"alive")[2]


# Each took Python's parser of media types between 6 and 16 seconds, in which nobody was answered.
SLOW_TYPES = {
    "semicolons in quotes": b'multipart/form-data; x="' + b";" * 60_000,
    "many parameters": b"multipart/form-data; " + b"a=1; " * 12_000,
    "in CSV": b'text/csv; x="' + b";" * 60_000,
}


@pytest.mark.parametrize("media_type", SLOW_TYPES.values(), ids=SLOW_TYPES.keys())
def test_a_media_type_that_takes_long_to_parse_is_refused(api, media_type):
    began = time.monotonic()
    head = b"POST /predict/batch HTTP/1.1\r\n" + HOST + b"X-API-Key: a\r\nConnection: close\r\n"
    got = talk(api[0], head + b"Content-Type: " + media_type + b"\r\nContent-Length: 2\r\n\r\n[]")
    assert problem(got).status_code == 415
    assert time.monotonic() - began < 3


def test_the_media_type_within_a_form_is_bounded_too(api):
    part = b'Content-Type: text/csv; x="' + b";" * 4_000
    body = b"--b\r\n" + part + b"\r\n\r\nx\r\n--b--\r\n"
    answer = httpx.post(
        api[0].join("/predict/batch"),
        content=body,
        headers={"content-type": "multipart/form-data; boundary=b", "x-api-key": "a"},
        trust_env=False,
    )
    assert answer.status_code == 415


def test_a_long_query_is_refused(api):
    answer = httpx.post(api[0].join("/predict?" + "a&" * 20_000), json=ROW, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_two_hosts_are_refused(api):
    """The second was checked, and the first stood in the addresses of the answer."""
    hosts = b"Host: elsewhere.example\r\n" + HOST
    got = talk(api[0], b"GET /openapi.json HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert problem(got).status_code == 400
    assert b"elsewhere" not in got


def test_large_bodies_and_small_heads_pass(api):
    padded = b"[" + STAY + b"]" + b" " * 1_000_000
    answer = httpx.post(
        api[0].join("/predict/batch"),
        content=iter([padded[:700_000], padded[700_000:]]),
        headers={"content-type": "application/json"},
        trust_env=False,
    )
    assert answer.is_success
    assert httpx.get(
        api[0].join("/livez"), headers={"x-a": "y" * 60_000}, trust_env=False
    ).is_success


def test_there_are_no_websockets(api):
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    got = talk(
        api[0],
        b"GET /predict HTTP/1.1\r\n"
        + HOST
        + upgrade
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n",
    )
    assert problem(got).status_code == 405


def test_garbage_after_requests_leaves_no_traceback(api):
    for _ in range(20):
        talk(api[0], WHOLE * 3 + b"GARBAGE\r\n\r\n")
    httpx.get(api[0].join("/livez"), trust_env=False).raise_for_status()
    assert "Traceback" not in api[1].read_text()


def test_a_request_in_flight_is_answered_while_the_api_stops(tmp_path):
    """uvicorn closed the connection: with each replacement of the API a few predictions failed."""
    with running(tmp_path, 1) as (url, process):
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port), timeout=30) as connection:
            httpx.get(f"{url}/livez", trust_env=False)  # the connection before it is accepted
            process.send_signal(signal.SIGTERM)
            time.sleep(0.25)
            connection.sendall(WHOLE)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_a_draining_pod_answers_and_closes_idle_connections(tmp_path):
    with (
        running(tmp_path, 1) as (url, process),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        assert "connection" not in client.post("/predict", json=ROW).headers
        process.send_signal(signal.SIGUSR1)

        def is_draining():
            return client.get("/livez").headers.get("connection") == "close"

        wait_until(is_draining, "the process drains", 5)
        process.send_signal(signal.SIGUSR1)  # a hook that is run twice
        answers = [client.post("/predict", json=ROW) for _ in range(20)]
        for answer in answers:
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
