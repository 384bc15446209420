"""Hostile requests against a real process: each gets an answer or a problem document, and memory
stays where it was. The limits are the defaults.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support import hostile
from tests.support.api import running
from tests.support.heart import Heart
from tests.support.serving import ROW

GROWTH_MB = 25  # allocators round up; a leak of 5 kB per request shows at 10,000
LONGEST_SILENCE_SECONDS = 2.0  # a busy machine
# The limits of requests are the defaults.
SETTINGS = {
    "READMIT_PREDICTION_LOG_ROWS": "200",
    "READMIT_REGISTRY_POLL_SECONDS": "0.2",
}


def memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def ask(client, request):
    """Return the status of the answer, and what is wrong with it or None."""
    method, path, body, kind = request
    headers = {}
    if kind:
        headers["content-type"] = kind
    answer = client.request(method, path, content=body, headers=headers)
    status = answer.status_code
    if answer.is_success or is_problem(answer):
        return status, None
    return status, (status, answer.text[:200], method, path, body[:100], kind)


def is_problem(answer):
    """Return whether an answer is a problem (RFC 9457) that the client is to blame for."""
    if answer.headers["content-type"] != "application/problem+json":
        return False
    problem = answer.json()
    if not {"type", "title", "status", "detail"} <= set(problem):
        return False
    return problem["status"] == answer.status_code < 500


@pytest.mark.parametrize("n", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
def test_hostile_requests_are_answered_in_bounded_memory(n, tmp_path):
    (tmp_path / "previous").write_text("2")
    (tmp_path / "challenger").write_text("3")
    drawn = list(hostile.requests(n))
    with (
        running(tmp_path, 1, **SETTINGS) as (url, process),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        results = list(pool.map(partial(ask, client), drawn[: n // 2]))
        before = memory_mb(process.pid)
        with Heart(url) as heart:
            results += list(pool.map(partial(ask, client), drawn[n // 2 :]))
        grown = memory_mb(process.pid) - before
        honest = client.post("/predict", json=ROW)
    print(
        f"{n} requests: memory from {before:.0f} MB by {grown:+.1f} MB,"
        f" /livez within {heart.longest:.2f} s"
    )
    statuses = set()
    for status, fault in results:
        assert fault is None
        statuses.add(status)
    assert statuses >= {200, 404, 405, 413, 415, 422}  # the requests are of many kinds
    assert grown < GROWTH_MB
    assert heart.longest <= LONGEST_SILENCE_SECONDS
    assert honest.status_code == 200
