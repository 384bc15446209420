"""`max_users_vs_mlflow`: maximum users at the SLO, the API over `mlflow models serve` of the same model.

The same search (locust/capacity.py), SLO, think time and user (SingleUser: one stay a second), one server process each
on the same core, the model of `bench.reference_model`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.figure import CannotMeasure, Figure
from bench.reference_model import with_pipeline
from bench.servers import mlflow_serve
from readmit.settings import ROOT

CAPACITY = ROOT / "locust" / "capacity.py"
SEARCHES = os.environ.get("BENCH_SEARCHES", "3")
STEP_SECONDS = os.environ.get("BENCH_STEP_SECONDS", "10")


def users() -> list[Figure]:
    """Search both, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        model, words = with_pipeline()
        ours = _search(at / "api", "--own", "--model", str(model), "--classes", "SingleUser")
        with mlflow_serve(model) as server:
            asked = [
                "--host",
                server.address,
                "--static-path",
                "/ping",
                "--classes",
                "MlflowUser",
                "--start",
                "16",
            ]
            theirs = _search(
                at / "mlflow", *asked, "--rows", str(_requests(model, at / "requests.json"))
            )
    if not theirs["users"]:
        raise CannotMeasure("mlflow models serve does not hold the SLO for one user: no ratio")
    detail = f"API {ours['text']} users ({_rate(ours)}), mlflow {theirs['text']} users ({_rate(theirs)}), "
    detail += "SLO p95 250 ms, errors 0.1 %, think time 0.5-1.5 s, one server process on one core, "
    detail += f"{SEARCHES} searches; {words}"
    return [
        Figure("max_users_vs_mlflow", ours["users"] / theirs["users"], "ratio", ">= 20", detail)
    ]


def _rate(found: dict[str, Any]) -> str:
    return f"{found['requests_per_second'] or 0:.0f}/s"


def _requests(model: Path, file: Path) -> Path:
    """Write requests of one row each, from the example that is stored with the model."""
    example = json.loads((model / "serving_input_example.json").read_text())["dataframe_split"]
    columns = example["columns"]
    bodies = [{"dataframe_split": {"columns": columns, "data": [row]}} for row in example["data"]]
    file.write_text(json.dumps(bodies), encoding="utf-8")
    return file


def _search(output: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(CAPACITY), "--output", str(output), "--searches", SEARCHES]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--seconds", STEP_SECONDS, *options], env=environment, check=False
    )
    if done.returncode == 2:
        raise CannotMeasure("the search could not measure: see above")
    found: dict[str, Any] = json.loads((output / "capacity.json").read_text())["results"][0]
    return found


MEASURES = {("max_users_vs_mlflow",): users}
