"""`api_vs_naive` and `api_vs_mlflow_serve`: requests/s at the same p95, the API over other ways to serve the Pipeline.

The other server first: of several numbers of connections, the one with most requests/s within the SLO (p95 250 ms)
gives its rate and its p95. The API then gets the number with most requests/s within *that* p95. Both are measured
again, alternated, three times each; medians. Same model, same stays, one process each on the same core, which the
other one leaves idle. The others know no derivation: they get the derived columns in the request, for nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

from bench import reference_model, servers
from bench.api_speed import REPEATS, median
from bench.figure import CannotMeasure, Figure
from bench.load_generator import Load, load, requests
from bench.servers import Server

SLO_MS = 250.0
CONNECTIONS = (1, 2, 4, 8, 16, 32)
TOLERANCE = 1e-6
Start = Callable[[Path], AbstractContextManager[Server]]


def api_vs_naive() -> list[Figure]:
    """Compare with a FastAPI route that makes a DataFrame and calls the Pipeline. Goal: at least 30."""
    folder, words = reference_model.with_pipeline()
    rows = reference_model.full_rows(folder)
    with servers.naive(folder) as server:
        said = [_post(server, "/predict", row)["probability"] for row in rows]
        _check(folder, said)
        found, detail = _compare(folder, server, requests("/predict", rows))
    return [Figure("api_vs_naive", found, "ratio", ">= 30", f"{detail}; {words}")]


def api_vs_mlflow_serve() -> list[Figure]:
    """Compare with `mlflow models serve`, one worker. Goal: at least 40."""
    folder, words = reference_model.with_pipeline()
    rows = reference_model.full_rows(folder)
    bodies = [
        {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}} for row in rows
    ]
    with servers.mlflow_serve(folder) as server:
        said = [_post(server, "/invocations", body)["predictions"][0][1] for body in bodies]
        _check(folder, said)
        found, detail = _compare(folder, server, requests("/invocations", bodies))
    return [Figure("api_vs_mlflow_serve", found, "ratio", ">= 40", f"{detail}; {words}")]


def _compare(folder: Path, other: Server, asked: Sequence[bytes]) -> tuple[float, str]:
    ours_asked = requests("/predict", reference_model.rows(folder))
    with servers.api(folder) as api:
        connections, first = best({n: load(other, asked, n) for n in CONNECTIONS}, SLO_MS)
        ours_connections, _ = best({n: load(api, ours_asked, n) for n in CONNECTIONS}, first.p95_ms)
        theirs, ours = [], []
        for _ in range(REPEATS):
            theirs.append(load(other, asked, connections))
            ours.append(load(api, ours_asked, ours_connections))
    they, we = median(theirs), median(ours)
    if we.p95_ms > max(each.p95_ms for each in theirs):
        raise CannotMeasure(
            f"the API's p95 of {we.p95_ms:.0f} ms was the larger one this time: measure again"
        )
    return (
        we.rate / they.rate,
        f"API {we} ({ours_connections} connections); other {they} ({connections} connections)",
    )


def best(found: Mapping[int, Load], p95_ms: float) -> tuple[int, Load]:
    """Return the number of connections with most requests/s whose p95 is within a limit, and what it gave.

    Raises:
        CannotMeasure: none is.
    """
    within = {n: measured for n, measured in found.items() if measured.p95_ms <= p95_ms}
    if not within:
        raise CannotMeasure(f"p95 is above {p95_ms:.1f} ms with any number of connections")
    return max(within.items(), key=lambda item: item[1].rate)


def _post(server: Server, path: str, body: object) -> Any:  # noqa: ANN401 (JSON)
    return (
        httpx.post(server.address + path, json=body, timeout=30, trust_env=False)
        .raise_for_status()
        .json()
    )


def _check(folder: Path, said: Sequence[float]) -> None:
    """Both must say the same, or they are not compared.

    Raises:
        CannotMeasure: they differ.
    """
    worst = max(
        abs(a - b) for a, b in zip(said, reference_model.probabilities(folder), strict=True)
    )
    if not worst <= TOLERANCE:
        raise CannotMeasure(f"the other server's answers differ from the model's by {worst:.1e}")


MEASURES = {("api_vs_naive",): api_vs_naive, ("api_vs_mlflow_serve",): api_vs_mlflow_serve}
