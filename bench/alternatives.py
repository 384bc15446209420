"""`api_vs_naive` and `api_vs_mlflow_serve`: the API against other ways to serve the Pipeline.

Compared are the requests per second at the same p95.

The other server is measured first. Of several numbers of connections, the one with most requests/s
within the SLO (p95 250 ms) gives its rate and its p95. The API then gets the number with most
requests/s within *that* p95. Both are measured again, alternated, three times each; medians. Same
model, same stays, one process each on the same core; the other server is stopped or idle meanwhile.
The others know no derivation: they get the derived columns in the request, for nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from bench import reference_model, servers
from bench.api_speed import median
from bench.figure import CannotMeasure, Figure
from bench.load_generator import Load, load, requests
from bench.servers import Server

SLO_MS = 250.0
REPEATS = 3
CONNECTIONS = (1, 2, 4, 8, 16, 32)
TOLERANCE = 1e-6


def api_vs_naive() -> list[Figure]:
    """Compare with a FastAPI route that makes a DataFrame and calls the Pipeline."""
    model = reference_model.with_pipeline()
    rows = reference_model.full_rows(model.folder)
    with servers.naive(model.folder) as server:
        answers = [_post(server, "/predict", row) for row in rows]
        _check(model.folder, [answer["probability"] for answer in answers])
        ratio, detail = _compare(model.folder, server, requests("/predict", rows))
    return [Figure("api_vs_naive", ratio, "ratio", ">= 30", f"{detail}; {model.description}")]


def api_vs_mlflow_serve() -> list[Figure]:
    """Compare with `mlflow models serve`, one worker."""
    model = reference_model.with_pipeline()
    bodies = []
    for row in reference_model.full_rows(model.folder):
        frame = {"columns": list(row), "data": [list(row.values())]}
        bodies.append({"dataframe_split": frame})
    with servers.mlflow_serve(model.folder) as server:
        answers = [_post(server, "/invocations", body) for body in bodies]
        _check(model.folder, [answer["predictions"][0][1] for answer in answers])
        ratio, detail = _compare(model.folder, server, requests("/invocations", bodies))
    detail = f"{detail}; {model.description}"
    return [Figure("api_vs_mlflow_serve", ratio, "ratio", ">= 40", detail)]


def _compare(folder: Path, other: Server, other_requests: Sequence[bytes]) -> tuple[float, str]:
    """Return the API's requests/s over the other server's, and both loads in words."""
    api_requests = requests("/predict", reference_model.rows(folder))
    with servers.api(folder) as api:
        loads = {n: load(other, other_requests, n) for n in CONNECTIONS}
        other_connections, other_best = best(loads, SLO_MS)
        loads = {n: load(api, api_requests, n) for n in CONNECTIONS}
        api_connections, _ = best(loads, other_best.p95_ms)
        other_loads = []
        api_loads = []
        for _ in range(REPEATS):
            other_loads.append(load(other, other_requests, other_connections))
            api_loads.append(load(api, api_requests, api_connections))
    other_median = median(other_loads)
    api_median = median(api_loads)
    if api_median.p95_ms > max(measured.p95_ms for measured in other_loads):
        raise CannotMeasure(
            f"the API's p95 of {api_median.p95_ms:.0f} ms was the larger one: measure again"
        )
    detail = f"API {api_median} ({api_connections} connections); "
    detail += f"other {other_median} ({other_connections} connections)"
    return api_median.rate / other_median.rate, detail


def best(loads: Mapping[int, Load], p95_ms: float) -> tuple[int, Load]:
    """Return the number of connections with most requests/s within a p95, and its load.

    Raises:
        CannotMeasure: no number of connections is within it.
    """
    within = {n: measured for n, measured in loads.items() if measured.p95_ms <= p95_ms}
    if not within:
        raise CannotMeasure(f"p95 is above {p95_ms:.1f} ms with any number of connections")
    connections = max(within, key=lambda n: within[n].rate)
    return connections, within[connections]


def _post(server: Server, path: str, body: object) -> dict[str, Any]:
    response = httpx.post(server.address + path, json=body, timeout=30, trust_env=False)
    return dict(response.raise_for_status().json())


def _check(folder: Path, probabilities: Sequence[float]) -> None:
    """Check that the other server's answers are the model's.

    Raises:
        CannotMeasure: they differ.
    """
    expected = reference_model.probabilities(folder)
    differences = [abs(a - b) for a, b in zip(probabilities, expected, strict=True)]
    if not max(differences) <= TOLERANCE:  # NaN is no agreement
        raise CannotMeasure(
            f"the other server's answers differ from the model's by {max(differences):.1e}"
        )


MEASURES = {("api_vs_naive",): api_vs_naive, ("api_vs_mlflow_serve",): api_vs_mlflow_serve}
