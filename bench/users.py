"""`max_users_vs_mlflow`: maximum users at the SLO, the API over `mlflow models serve` of the same model.

The same search (locust/capacity.py), SLO, think time and user (SingleUser: one stay a second), one server process each
on the same core. The model: the folder of a logged model that MODEL names, else production of the running stack.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.figure import CannotMeasure, Figure
from readmit.settings import ROOT, Settings

CAPACITY = ROOT / "locust" / "capacity.py"
SEARCHES = os.environ.get("BENCH_SEARCHES", "3")
STEP_SECONDS = os.environ.get("BENCH_STEP_SECONDS", "10")


def users() -> list[Figure]:
    """Search both, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        model = _model(at / "model")
        ours = _search(at / "api", "--own", "--model", str(model), "--classes", "SingleUser")
        with mlflow_serve(model) as host:
            asked = ["--host", host, "--static-path", "/ping", "--classes", "MlflowUser", "--start", "16"]
            theirs = _search(at / "mlflow", *asked, "--rows", str(_requests(model, at / "requests.json")))
    if not theirs["users"]:
        raise CannotMeasure("mlflow models serve does not hold the SLO for one user: no ratio")
    detail = f"API {ours['text']} users ({_rate(ours)}), mlflow {theirs['text']} users ({_rate(theirs)}), "
    detail += f"SLO p95 250 ms, errors 0.1 %, think time 0.5-1.5 s, one server process on one core, {SEARCHES} searches"
    return [Figure("max_users_vs_mlflow", ours["users"] / theirs["users"], "ratio", ">= 20", detail)]


def _rate(found: dict[str, Any]) -> str:
    return f"{found['requests_per_second'] or 0:.0f}/s"


def _model(folder: Path) -> Path:
    """Return the folder of the model: MODEL, or production downloaded from the registry."""
    if given := os.environ.get("MODEL"):
        return Path(given).resolve()
    settings = Settings()
    try:
        httpx.get(f"{settings.mlflow_tracking_uri}/health", timeout=3, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        raise CannotMeasure("no model: make up, or MODEL=folder of a logged model") from None
    os.environ["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
    os.environ["AWS_ACCESS_KEY_ID"] = settings.aws_access_key_id
    os.environ["AWS_SECRET_ACCESS_KEY"] = settings.aws_secret_access_key.get_secret_value()
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    address = f"models:/{settings.model_name}@production"
    folder.mkdir()
    return Path(mlflow.artifacts.download_artifacts(address, dst_path=str(folder)))


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
    done = subprocess.run([*command, "--seconds", STEP_SECONDS, *options], env=environment, check=False)
    if done.returncode == 2:
        raise CannotMeasure("the search could not measure: see above")
    found: dict[str, Any] = json.loads((output / "capacity.json").read_text())["results"][0]
    return found


@contextmanager
def mlflow_serve(model: Path) -> Iterator[str]:
    """Run `mlflow models serve` with one worker on the first core; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first_core = str(min(os.sched_getaffinity(0)))
    command = [
        "taskset",
        "-c",
        first_core,
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(model),
        "--env-manager",
        "local",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryFile() as log:
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        environment |= {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, process_group=0)
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)  # its workers have the same group
            process.wait(timeout=30)


def _wait(host: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{host}/ping", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise CannotMeasure("mlflow models serve did not start")


MEASURES = {("max_users_vs_mlflow",): users}
