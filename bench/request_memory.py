"""`request_memory_mb`.

The worst growth of a worker's memory over what it holds when idle, of all `bench.hostile_bodies`:
requests within the limits that are made to cost memory. One worker, one request at a time. The
detail has the longest time for which one of them kept the event loop from everybody else.
"""

from pathlib import Path

import httpx
import psutil

from bench import hostile_bodies, loop_watch, reference_model, servers
from bench.figure import Figure
from bench.hostile_bodies import HostileBody
from bench.servers import Server

MB = 1e6
REFUSALS = (413, 422)


def measure() -> list[Figure]:
    """Send every hostile body to a worker."""
    model = reference_model.find()
    (stay, *_) = reference_model.rows(model.folder)
    bodies = hostile_bodies.bodies(stay, number="n_medications", category="gender")
    growth: dict[str, float] = {}
    blocks: dict[str, float] = {}
    with (
        servers.api(model.folder) as server,
        httpx.Client(base_url=server.address, timeout=120, trust_env=False) as client,
    ):
        client.post("/predict", json=stay).raise_for_status()
        for name, body in bodies.items():
            client.get(loop_watch.PATH).raise_for_status()
            growth[name] = growth_mb(server, client, body)
            blocks[name] = client.get(loop_watch.PATH).json()
    worst = max(growth, key=growth.__getitem__)
    slowest = max(blocks, key=blocks.__getitem__)
    detail = f"{worst}; the loop was kept for {blocks[slowest] * 1000:.0f} ms at most ({slowest}); "
    detail += f"{len(bodies)} bodies, {model.description}"
    return [Figure("request_memory_mb", growth[worst], "MB", "<= 100", detail)]


def growth_mb(server: Server, client: httpx.Client, body: HostileBody) -> float:
    """Return by how many MB the worker's memory grows at most during a request.

    Raises:
        RuntimeError: the request was neither answered nor refused.
    """
    before: int = psutil.Process(server.pid).memory_info().rss
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak is measured from now on
    headers = {"content-type": body.media_type}
    answer = client.post(body.path, content=body.text.encode(), headers=headers)
    if not answer.is_success and answer.status_code not in REFUSALS:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")
    return (peak_bytes(server.pid) - before) / MB


def peak_bytes(pid: int) -> int:
    """Return the largest memory that a process has held since its peak was reset."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


MEASURES = {("request_memory_mb",): measure}
