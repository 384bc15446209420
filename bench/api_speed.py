"""Figures of the API alone: against a route that computes nothing, batches against single calls, memory of a worker.

One worker on the first core, the load generator on the last, the model of `bench.reference_model`, its 60 example stays in turn.
Three repeats, alternated where two things are compared; the ratio of the medians is the figure.
"""

from collections.abc import Mapping, Sequence

import psutil

from bench import reference_model, servers
from bench.figure import CannotMeasure, Figure
from bench.load_generator import Load, load, requests
from bench.servers import Server

REPEATS = 3
CONNECTIONS = 16
LEAST_BUSY = 0.85  # of its core, by a server that is the limit
BATCH, LARGEST = 1_000, 10_000
BATCH_CONNECTIONS = 2  # one batch is scored while the next one is read
MEMORY_SECONDS = 20.0
MB = 1e6
Asked = tuple[list[bytes], int]  # requests, connections


def api_vs_noop() -> list[Figure]:
    """Compare requests/s of /predict with those of a route with the same models and middleware. Goal: at least 0.75.

    Raises:
        CannotMeasure: the generator was the limit, which makes both look the same.
    """
    folder, words = reference_model.folder()
    stays = reference_model.rows(folder)
    asked = {path: (requests(path, stays), CONNECTIONS) for path in ("/predict", "/noop")}
    with servers.api(folder) as server:
        found = alternated(server, asked)
    predict, noop = median(found["/predict"]), median(found["/noop"])
    if noop.is_generator_bound:
        raise CannotMeasure(
            f"the generator used {noop.generator:.0%} of its core: the no-op route could do more"
        )
    detail = f"/predict {predict}; /noop {noop}; {words}, {CONNECTIONS} connections"
    return [Figure("api_vs_noop", predict.rate / noop.rate, "ratio", ">= 0.75", detail)]


def batch_vs_single() -> list[Figure]:
    """Compare rows/s of /predict/batch with 1,000 rows with those of single calls. Goal: at least 20."""
    folder, words = reference_model.folder()
    stays = reference_model.rows(folder)
    asked = {
        "single": (requests("/predict", stays), CONNECTIONS),
        "batch": (requests("/predict/batch", [{"rows": _times(stays, BATCH)}]), BATCH_CONNECTIONS),
    }
    with servers.api(folder) as server:
        found = alternated(server, asked)
    single, batch = median(found["single"]), median(found["batch"])
    rows = batch.rate * BATCH
    detail = f"{rows:.0f} rows/s in batches of {BATCH:,} ({batch}); single calls {single}; {words}"
    return [Figure("batch_vs_single", rows / single.rate, "ratio", ">= 20", detail)]


def worker_memory() -> list[Figure]:
    """Measure the resident memory of a worker after load of each kind. Goal: at most 350 MB."""
    folder, words = reference_model.folder()
    stays = reference_model.rows(folder)
    mix = {"/predict": 0.4, "/explain": 0.2, "/predict/batch": 0.2}
    with servers.api(folder) as server:
        for path, share in mix.items():
            bodies = [{"rows": _times(stays, BATCH)}] if path.endswith("batch") else stays
            load(server, requests(path, bodies), CONNECTIONS, MEMORY_SECONDS * share)
        load(
            server,
            requests("/predict/batch", [{"rows": _times(stays, LARGEST)}]),
            1,
            MEMORY_SECONDS * 0.2,
        )
        used = psutil.Process(server.pid).memory_full_info()
        most = _peak(server)
    detail = f"PSS {used.pss / MB:.0f} MB, peak {most:.0f} MB; after {MEMORY_SECONDS:.0f} s of single calls, explanations,"
    detail += f" batches of {BATCH:,} and of {LARGEST:,} rows; {words}"
    return [Figure("worker_memory", used.rss / MB, "MB", "<= 350", detail)]


def alternated(server: Server, asked: Mapping[str, Asked]) -> dict[str, list[Load]]:
    """Load a server with each in turn, REPEATS times after one to warm up."""
    found: dict[str, list[Load]] = {name: [] for name in asked}
    for repeat in range(REPEATS + 1):
        for name, (wanted, connections) in asked.items():
            measured = load(server, wanted, connections)
            if repeat:
                found[name].append(measured)
    return found


def median(found: Sequence[Load]) -> Load:
    """Return the load with the middle rate, of an odd number.

    Raises:
        CannotMeasure: the server waited for its core, or the generator was the limit of a server that was not busy.
    """
    middle = sorted(found, key=lambda each: each.rate)[len(found) // 2]
    if middle.server < LEAST_BUSY:
        raise CannotMeasure(
            f"the server was not the limit, the machine is busy with something else: {middle}"
        )
    return middle


def _times(stays: list[reference_model.Row], n: int) -> list[reference_model.Row]:
    return (stays * (n // len(stays) + 1))[:n]


def _peak(server: Server) -> float:
    """Return the most resident memory that the process ever had, in MB."""
    with open(f"/proc/{server.pid}/status") as status:
        kb = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    return int(kb) * 1024 / MB


MEASURES = {
    ("api_vs_noop",): api_vs_noop,
    ("batch_vs_single",): batch_vs_single,
    ("worker_memory",): worker_memory,
}
