"""Figures of the API alone: `api_vs_noop`, `batch_vs_limit`, `worker_memory`.

One worker on the first core, the load generator on the last, the model of `bench.reference_model`
and its 60 example stays in turn. Repeats alternate where two routes are compared; the ratio of the
medians is the figure.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from bench import batch_limit, reference_model, servers
from bench.figure import CannotMeasure, Figure
from bench.load_generator import Load, load, requests
from bench.servers import Server
from readmit.client import access_keys

REPEATS = 15
# Short, and alternated: what else the host does changes the speed from one second to the next.
SECONDS = 1.0
CONNECTIONS = 16
# Share of its core that a server uses which is the limit.
LEAST_BUSY = 0.85
BATCH_ROWS = 1_000
LARGEST_BATCH_ROWS = 10_000
BATCH_CONNECTIONS = 2  # one batch is scored while the next one is read
MEMORY_SECONDS = 20.0
MB = 1e6


@dataclass(frozen=True)
class Traffic:
    """Requests that are sent in turn, over a number of connections."""

    requests: Sequence[bytes]
    connections: int


def api_vs_noop() -> list[Figure]:
    """Compare /predict with a route that has the same request model and middleware.

    Once with API keys off, once with them on.
    """
    key = secrets.token_urlsafe(access_keys.KEY_BYTES)
    scopes = frozenset({access_keys.Scope.PREDICT})
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = access_keys.AccessKey("bench", scopes, digest).entry()
    return [
        _vs_noop("api_vs_noop", ">= 0.8", api_keys="", api_key=""),
        _vs_noop("api_vs_noop_with_keys", ">= 0.75", api_keys=entry, api_key=key),
    ]


def _vs_noop(name: str, goal: str, *, api_keys: str, api_key: str) -> Figure:
    """Measure both routes.

    Args:
        name: the name of the figure.
        goal: its goal.
        api_keys: the keys that the API accepts.
        api_key: the key that is sent.

    Raises:
        CannotMeasure: the generator was the limit, which makes both look the same.
    """
    model = reference_model.find()
    stays = reference_model.rows(model.folder)
    traffic = {
        "predict": Traffic(requests("/predict", stays, api_key), CONNECTIONS),
        "noop": Traffic(requests("/noop", stays, api_key), CONNECTIONS),
    }
    with servers.api(model.folder, api_keys) as server:
        loads = alternated(server, traffic)
    predict = median(loads["predict"])
    noop = median(loads["noop"])
    if noop.is_generator_bound:
        raise CannotMeasure(
            f"the generator used {noop.generator:.0%} of its core: the no-op route could do more"
        )
    detail = f"/predict {predict}; /noop {noop}; {model.description}, {CONNECTIONS} connections"
    return Figure(name, predict.rate / noop.rate, "ratio", goal, detail)


def batch_vs_limit() -> list[Figure]:
    """Compare the time of a row of /predict/batch with that of parsing its JSON and scoring it."""
    model = reference_model.find()
    stays = reference_model.rows(model.folder)
    traffic = {
        "single": Traffic(requests("/predict", stays), CONNECTIONS),
        "batch": Traffic(_batch_requests(stays, BATCH_ROWS), BATCH_CONNECTIONS),
    }
    limit = batch_limit.seconds_per_row(model.folder, BATCH_ROWS)
    with servers.api(model.folder) as server:
        loads = alternated(server, traffic)
    single = median(loads["single"])
    batch = median(loads["batch"])
    seconds = 1 / (batch.rate * BATCH_ROWS)
    detail = f"{seconds * 1e6:.1f} µs a row in batches of {BATCH_ROWS:,} ({batch}), "
    detail += f"{limit * 1e6:.1f} µs to parse and score it; "
    detail += f"{batch.rate * BATCH_ROWS / single.rate:.1f} times the rows/s of single calls; "
    detail += model.description
    return [Figure("batch_vs_limit", seconds / limit, "ratio", "<= 2.2", detail)]


def worker_memory() -> list[Figure]:
    """Measure the resident memory of a worker after load of each kind."""
    model = reference_model.find()
    stays = reference_model.rows(model.folder)
    batches = _batch_requests(stays, BATCH_ROWS)
    largest_batches = _batch_requests(stays, LARGEST_BATCH_ROWS)
    with servers.api(model.folder) as server:
        load(server, requests("/predict", stays), CONNECTIONS, MEMORY_SECONDS * 0.4)
        load(server, requests("/explain", stays), CONNECTIONS, MEMORY_SECONDS * 0.2)
        load(server, batches, CONNECTIONS, MEMORY_SECONDS * 0.2)
        load(server, largest_batches, 1, MEMORY_SECONDS * 0.2)
        memory = psutil.Process(server.pid).memory_full_info()
        peak = _peak_memory(server)
    detail = f"PSS {memory.pss / MB:.0f} MB, peak {peak:.0f} MB; "
    detail += f"after {MEMORY_SECONDS:.0f} s of single calls, explanations, "
    detail += f"batches of {BATCH_ROWS:,} and of {LARGEST_BATCH_ROWS:,} rows; {model.description}"
    return [Figure("worker_memory", memory.rss / MB, "MB", "<= 350", detail)]


def alternated(server: Server, traffic: Mapping[str, Traffic]) -> dict[str, list[Load]]:
    """Load a server with each kind of traffic in turn, REPEATS times after one to warm up."""
    loads: dict[str, list[Load]] = {name: [] for name in traffic}
    for repeat in range(REPEATS + 1):
        for name, kind in traffic.items():
            measured = load(server, kind.requests, kind.connections, SECONDS)
            if repeat > 0:
                loads[name].append(measured)
    return loads


def median(loads: Sequence[Load]) -> Load:
    """Return the load with the middle rate, of an odd number.

    Raises:
        CannotMeasure: the server waited for its core, or the generator was the limit of a server
            that was not busy.
    """
    by_rate = sorted(loads, key=lambda measured: measured.rate)
    middle = by_rate[len(loads) // 2]
    if middle.server < LEAST_BUSY:
        raise CannotMeasure(
            f"the server was not the limit, the machine is busy with something else: {middle}"
        )
    return middle


def _batch_requests(stays: Sequence[reference_model.Row], n: int) -> list[bytes]:
    """Return one request of `n` rows: the stays, as often as they are needed."""
    rows = [stays[number % len(stays)] for number in range(n)]
    return requests("/predict/batch", [{"rows": rows}])


def _peak_memory(server: Server) -> float:
    """Return the most megabytes that a server ever had resident."""
    with open(f"/proc/{server.pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / MB
    raise CannotMeasure("this kernel does not record the peak of a process' memory (VmHWM)")


MEASURES = {
    ("api_vs_noop", "api_vs_noop_with_keys"): api_vs_noop,
    ("batch_vs_limit",): batch_vs_limit,
    ("worker_memory",): worker_memory,
}
