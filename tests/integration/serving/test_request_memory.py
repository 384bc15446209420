"""No request within the limits costs a worker more than 100 MB, and `/livez` answers meanwhile.

Fourteen megabytes of unknown keys once took 10.4 GB and silenced `/livez` for 50 seconds.
"""

import json
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.support.api import running
from tests.support.serving import ROW

LIMIT_MB = 100
LONGEST_SILENCE_SECONDS = 2.0  # a busy machine; the unbounded requests took 50 s
MEGABYTES = 15_000_000
KEYS = ",".join(f'"{i:x}":0' for i in range(1_300_000))
TEXT = "ñ" * 6_000_000
BATCH = "/predict/batch"
JSON = "application/json"
CSV = "text/csv"
BODIES = {
    "unknown keys of a stay": ("/predict", JSON, f"{{{KEYS}}}"),
    "unknown keys, to explain": ("/explain", JSON, f"{{{KEYS}}}"),
    "unknown keys, to compare": ("/compare", JSON, f"{{{KEYS}}}"),
    "unknown keys of a row": (BATCH, JSON, f"[{{{KEYS}}}]"),
    "keys within the small limit": ("/predict", JSON, f"{{{KEYS[:65_000].rpartition(',')[0]}}}"),
    "empty rows": (BATCH, JSON, "[" + "{}," * (MEGABYTES // 3) + "{}]"),
    "empty lists": (BATCH, JSON, "[" + "[]," * (MEGABYTES // 3) + "[]]"),
    "numbers for rows": (BATCH, JSON, "[" + "0," * (MEGABYTES // 2) + "0]"),
    "texts for rows": (BATCH, JSON, "[" + '"",' * (MEGABYTES // 3) + '""]'),
    "a key many times": (BATCH, JSON, '[{"gender":"Male"' + ',"gender":"Male"' * 900_000 + "}]"),
    "a long text": (BATCH, JSON, json.dumps([ROW | {"gender": TEXT}], ensure_ascii=False)),
    "a long number": (BATCH, JSON, '[{"n_medications":' + "9" * MEGABYTES + "}]"),
    "deep nesting": (BATCH, JSON, "[" * (MEGABYTES // 2) + "]" * (MEGABYTES // 2)),
    "errors in every row": (BATCH, JSON, json.dumps([{"gender": "x", "a": 1, "b": 2}] * 9_999)),
    "many columns of a CSV": (BATCH, CSV, "a," * (MEGABYTES // 2) + "\n1"),
    "many lines of a CSV": (BATCH, CSV, "gender\n" + "\n" * MEGABYTES),
    "a long cell of a CSV": (BATCH, CSV, "gender\n" + TEXT),
}


def memory_mb(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


class Heart:
    """Asks `/livez` ten times a second and keeps the longest wait."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> "Heart":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._stop.wait(0.1):
                began = time.monotonic()
                assert client.get("/livez").status_code == 200
                self.longest = max(self.longest, time.monotonic() - began)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with (
        running(tmp_path_factory.mktemp("api"), 1) as (url, process),
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        assert client.post("/predict", json=ROW).status_code == 200
        yield client, process.pid


@pytest.mark.parametrize("name", BODIES)
def test_no_body_within_the_limits_takes_much_memory_or_time(name, api):
    client, pid = api
    path, media_type, body = BODIES[name]
    before = memory_mb(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is measured from now on
    with Heart(str(client.base_url)) as heart:
        answer = client.post(path, content=body.encode(), headers={"content-type": media_type})
    growth = memory_mb(pid, "VmHWM") - before
    print(f"{name}: {answer.status_code}, {growth:.0f} MB, /livez within {heart.longest:.2f} s")
    assert answer.status_code in (200, 413, 422)
    assert growth <= LIMIT_MB
    assert heart.longest <= LONGEST_SILENCE_SECONDS
    assert client.post("/predict", json=ROW).status_code == 200
