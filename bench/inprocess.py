"""`inprocess_vs_pipeline`.

Seconds per stay, `predict_proba` of the Pipeline over the compiled model.

No HTTP. A request is a dict of inputs and history; the compiled model derives, encodes and scores
it. The Pipeline gets its DataFrame ready made, derived columns included, so that building it costs
nothing. Same stays in turn, one core and one thread, three alternated repeats; the ratio of the
medians of the seconds per stay is the figure.

`python -m bench.inprocess FOLDER` prints the seconds: a process of its own, because the number of
threads is settled when libraries are loaded.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

from bench import reference_model, servers
from bench.figure import CannotMeasure, Figure
from readmit.settings import ROOT

REPEATS = 3
SECONDS = 2.0
TOLERANCE = 1e-6

Argument = TypeVar("Argument")


class Timings(TypedDict):
    """Seconds per stay of each repeat, and the largest difference of the two probabilities."""

    pipeline: list[float]
    compiled: list[float]
    worst: float


def measure() -> list[Figure]:
    """Measure both in a process on the servers' core."""
    model = reference_model.with_pipeline()
    core = str(servers.server_core())
    command = ["taskset", "-c", core, sys.executable, "-m", "bench.inprocess", str(model.folder)]
    process = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | servers.ONE_THREAD | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    timings: Timings = json.loads(process.stdout.splitlines()[-1])
    if not timings["worst"] <= TOLERANCE:  # NaN is no agreement
        raise CannotMeasure(f"compiled model and Pipeline differ by {timings['worst']:.1e}")
    pipeline = statistics.median(timings["pipeline"])
    compiled = statistics.median(timings["compiled"])
    detail = f"Pipeline {pipeline * 1e3:.2f} ms, compiled {compiled * 1e6:.1f} µs a stay, "
    detail += f"same probability; {model.description}"
    return [Figure("inprocess_vs_pipeline", pipeline / compiled, "ratio", ">= 300", detail)]


def seconds_per_call(
    call: Callable[[Argument], object], arguments: Sequence[Argument], seconds: float = SECONDS
) -> float:
    """Return the mean seconds of a call, over all arguments as often as fits into `seconds`."""
    began = time.perf_counter()
    rounds = 0
    while time.perf_counter() - began < seconds:
        for argument in arguments:
            call(argument)
        rounds += 1
    return (time.perf_counter() - began) / (rounds * len(arguments))


def time_both(folder: Path) -> Timings:
    """Time the Pipeline and the compiled model of a folder, alternated."""
    import mlflow
    import pandas as pd

    from readmit.inference.compiled_model import CompiledModel

    pipeline = mlflow.sklearn.load_model(str(folder))
    compiled = CompiledModel.load(folder)
    stays = reference_model.rows(folder)
    frames = [pd.DataFrame([row]) for row in reference_model.full_rows(folder)]
    timings: Timings = {"pipeline": [], "compiled": [], "worst": 0.0}
    for stay, frame in zip(stays, frames, strict=True):  # warms both up, too
        expected = float(pipeline.predict_proba(frame)[0, 1])
        difference = abs(compiled.predict_one(stay) - expected)
        timings["worst"] = max(timings["worst"], difference)
    for _ in range(REPEATS):
        timings["pipeline"].append(seconds_per_call(pipeline.predict_proba, frames))
        timings["compiled"].append(seconds_per_call(compiled.predict_one, stays))
    return timings


MEASURES = {("inprocess_vs_pipeline",): measure}

if __name__ == "__main__":
    print(json.dumps(time_both(Path(sys.argv[1]))))
