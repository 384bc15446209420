"""What a row of a batch costs at least: parsing its JSON and scoring it, and nothing else.

`python -m bench.batch_limit FOLDER ROWS` prints the seconds of each repeat: a process of its own on
the core of the servers, because the number of threads is settled when libraries are loaded.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import orjson

from bench import reference_model, servers
from bench.inprocess import REPEATS, seconds_per_call
from readmit.inference.compiled_model import CompiledModel
from readmit.settings import ROOT


def seconds_per_row(folder: Path, n_rows: int) -> float:
    """Return the seconds of a row in batches of `n_rows`, with the model of a folder."""
    core = str(servers.server_core())
    module = ["-m", "bench.batch_limit", str(folder), str(n_rows)]
    process = subprocess.run(
        ["taskset", "-c", core, sys.executable, *module],
        cwd=ROOT,
        env=os.environ | servers.ONE_THREAD | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    repeats: list[float] = json.loads(process.stdout.splitlines()[-1])
    return statistics.median(repeats) / n_rows


def time_batches(folder: Path, n_rows: int) -> list[float]:
    """Return the seconds of a batch, one figure for each repeat."""
    compiled = CompiledModel.load(folder)
    stays = reference_model.rows(folder)
    rows = [stays[number % len(stays)] for number in range(n_rows)]
    body = orjson.dumps({"rows": rows})

    def parse_and_score(body: bytes) -> None:
        compiled.predict_many(orjson.loads(body)["rows"])

    parse_and_score(body)  # warms it up
    return [seconds_per_call(parse_and_score, [body]) for _ in range(REPEATS)]


if __name__ == "__main__":
    print(json.dumps(time_batches(Path(sys.argv[1]), int(sys.argv[2]))))
