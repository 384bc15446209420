"""`inprocess_vs_pipeline`: one-row `predict_proba` of the Pipeline over a request to its probability, in process.

No HTTP. A request is a dict of inputs and history; the compiled model derives, encodes and scores it. The Pipeline gets
its DataFrame ready made, derived columns included, so that building it costs nothing. Same stays in turn, one core and
one thread, three alternated repeats; the ratio of the medians of the seconds per stay is the figure.

`python -m bench.inprocess FOLDER` prints the seconds: a process of its own, because the number of threads is settled
when libraries are loaded.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import reference_model, servers
from bench.figure import CannotMeasure, Figure
from readmit.settings import ROOT

REPEATS = 3
SECONDS = 2.0
TOLERANCE = 1e-6


def measure() -> list[Figure]:
    """Measure both in a process on the servers' core. Goal: at least 300."""
    folder, words = reference_model.with_pipeline()
    command = [
        "taskset",
        "-c",
        str(servers.server_core()),
        sys.executable,
        "-m",
        "bench.inprocess",
        str(folder),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | servers.ONE_THREAD | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if not found["worst"] <= TOLERANCE:
        raise CannotMeasure(f"compiled model and Pipeline differ by {found['worst']:.1e}")
    pipeline, compiled = statistics.median(found["pipeline"]), statistics.median(found["compiled"])
    detail = f"Pipeline {pipeline * 1e3:.2f} ms, compiled {compiled * 1e6:.1f} µs a stay, same probability; {words}"
    return [Figure("inprocess_vs_pipeline", pipeline / compiled, "ratio", ">= 300", detail)]


def seconds_each(
    call: Callable[[Any], object], given: Sequence[Any], least: float = SECONDS
) -> float:
    """Return the mean seconds of a call, over all of `given` as often as fits into `least` seconds."""
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < least:
        for each in given:
            call(each)
        rounds += 1
    return (time.perf_counter() - began) / (rounds * len(given))


def _time_both(folder: Path) -> dict[str, Any]:
    import mlflow
    import pandas as pd

    from readmit.inference.compiled_model import CompiledModel

    pipeline, compiled = mlflow.sklearn.load_model(str(folder)), CompiledModel.load(folder)
    stays, frames = (
        reference_model.rows(folder),
        [pd.DataFrame([row]) for row in reference_model.full_rows(folder)],
    )
    expected = [float(pipeline.predict_proba(frame)[0, 1]) for frame in frames]  # warms up, too
    worst = max(
        abs(compiled.predict_one(stay) - p) for stay, p in zip(stays, expected, strict=True)
    )
    found: dict[str, list[float]] = {"pipeline": [], "compiled": []}
    for _ in range(REPEATS):
        found["pipeline"].append(seconds_each(pipeline.predict_proba, frames))
        found["compiled"].append(seconds_each(compiled.predict_one, stays))
    return {**found, "worst": worst}


MEASURES = {("inprocess_vs_pipeline",): measure}

if __name__ == "__main__":
    print(json.dumps(_time_both(Path(sys.argv[1]))))
