"""`max_users_vs_mlflow`.

Maximum users at the SLO, the API over `mlflow models serve` of the same model.

The same search (locust/capacity.py), SLO, think time and user (SingleUser: one stay a second), one
server process each on the same core, the model of `bench.reference_model`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from bench.figure import CannotMeasure, Figure
from bench.reference_model import with_pipeline
from bench.servers import mlflow_serve
from readmit.settings import ROOT

CAPACITY = ROOT / "locust" / "capacity.py"
SEARCHES = os.environ.get("READMIT_BENCH_SEARCHES", "3")
STEP_SECONDS = os.environ.get("READMIT_BENCH_STEP_SECONDS", "10")


class Capacity(TypedDict):
    """The part of a result in build/capacity.json that is compared."""

    users: int
    text: str
    requests_per_second: float | None


def users() -> list[Figure]:
    """Search both, one after the other."""
    model = with_pipeline()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        api = _search(
            folder / "api", "--own", "--model", str(model.folder), "--classes", "SingleUser"
        )
        rows = folder / "requests.json"
        _write_requests(model.folder, rows)
        with mlflow_serve(model.folder) as server:
            options = ["--host", server.address, "--static-path", "/ping", "--start", "16"]
            options += ["--classes", "MlflowUser", "--rows", str(rows)]
            mlflow = _search(folder / "mlflow", *options)
    if not mlflow["users"]:
        raise CannotMeasure("mlflow models serve does not hold the SLO for one user: no ratio")
    detail = f"API {_in_words(api)}, mlflow {_in_words(mlflow)}, SLO p95 250 ms, errors 0.1 %, "
    detail += "think time 0.5-1.5 s, one server process on one core, "
    detail += f"{SEARCHES} searches; {model.description}"
    ratio = api["users"] / mlflow["users"]
    return [Figure("max_users_vs_mlflow", ratio, "ratio", ">= 20", detail)]


def _in_words(capacity: Capacity) -> str:
    rate = capacity["requests_per_second"] or 0
    return f"{capacity['text']} users ({rate:.0f}/s)"


def _write_requests(model: Path, file: Path) -> None:
    """Write requests of one row each, from the example that is stored with the model."""
    example = json.loads((model / "serving_input_example.json").read_text())["dataframe_split"]
    bodies = []
    for row in example["data"]:
        bodies.append({"dataframe_split": {"columns": example["columns"], "data": [row]}})
    file.write_text(json.dumps(bodies), encoding="utf-8")


def _search(output: Path, *options: str) -> Capacity:
    command = [sys.executable, str(CAPACITY), "--output", str(output), "--searches", SEARCHES]
    command += ["--seconds", STEP_SECONDS, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, env=environment, check=False)
    if process.returncode == 2:
        raise CannotMeasure("the search could not measure: see above")
    results: list[Capacity] = json.loads((output / "capacity.json").read_text())["results"]
    return results[0]


MEASURES = {("max_users_vs_mlflow",): users}
