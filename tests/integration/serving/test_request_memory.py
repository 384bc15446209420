"""No request within the limits costs a worker more than 100 MB or keeps its event loop for more
than 100 ms, and `/livez` answers meanwhile.

Fourteen megabytes of unknown keys once took 10.4 GB and silenced `/livez` for 50 seconds.
"""

from pathlib import Path

import httpx
import pytest

from bench import hostile_bodies, loop_watch
from tests.support.api import running
from tests.support.heart import Heart
from tests.support.serving import ROW

LIMIT_MB = 100
LONGEST_BLOCK_SECONDS = 0.1
LONGEST_SILENCE_SECONDS = 2.0  # a busy machine; the unbounded requests took 50 s
BODIES = hostile_bodies.bodies(ROW, number="n_medications", category="gender")


def memory_mb(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
MEGABYTE = b"1,2,3,4,5,6,7,8\n" * 65_536
# Media type, first bytes, and what follows a hundred times. No body has an end.
UPLOADS = {
    "large file": ("application/octet-stream", b"", MEGABYTE),
    "line without an end": ("text/csv", b"", b"x" * len(MEGABYTE)),
    "form of many parts": (FORM, b"", (PART + b"\r\n\r\n") * 10_000),
    "form with a giant head": (FORM, PART + b"X: ", b"x" * len(MEGABYTE)),
    "form without an end": (FORM, PART + b"\r\n", MEGABYTE),
}


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
    client.get(loop_watch.PATH)
    before = memory_mb(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is measured from now on
    with Heart(str(client.base_url)) as heart:
        answer = client.post(path, content=body.encode(), headers={"content-type": media_type})
    growth = memory_mb(pid, "VmHWM") - before
    block = client.get(loop_watch.PATH).json()
    print(
        f"{name}: {answer.status_code}, {growth:.0f} MB, {block * 1000:.0f} ms,"
        f" /livez within {heart.longest:.2f} s"
    )
    assert answer.status_code in (200, 413, 422)
    assert growth <= LIMIT_MB
    assert block <= LONGEST_BLOCK_SECONDS
    assert heart.longest <= LONGEST_SILENCE_SECONDS
    assert client.post("/predict", json=ROW).status_code == 200


@pytest.mark.parametrize("name", UPLOADS)
def test_no_upload_takes_much_memory(name, api):
    """There is no store here: a file that came to its end gets 503."""
    client, pid = api
    media_type, begin, block = UPLOADS[name]

    def body():
        yield begin
        for _ in range(100):
            yield block

    before = memory_mb(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    with Heart(str(client.base_url)) as heart:
        try:
            answer = client.post("/submit", content=body(), headers={"content-type": media_type})
        except httpx.WriteError:  # refused by its head, and closed
            assert media_type == FORM
        else:
            assert answer.status_code == (415 if media_type == FORM else 503)
    growth = memory_mb(pid, "VmHWM") - before
    print(f"{name}: {growth:.0f} MB, /livez within {heart.longest:.2f} s")
    assert growth <= LIMIT_MB / 2
    assert heart.longest <= LONGEST_SILENCE_SECONDS
    assert client.post("/predict", json=ROW).status_code == 200
