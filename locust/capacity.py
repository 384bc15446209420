"""`make capacity`: the maximum number of users for which the SLO holds. Method and reading: docs/load.md.

Against the API of the settings (API_URL), or with --own against an API that is started here, without a stack.
Exit code: 0 when every configuration holds --least users and its searches agree, 1 otherwise, 2 when it cannot measure.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import capacity_report
import capacity_search
import httpx
import psutil
import psycopg2
from load_step import Generator, LoadFailed, processes_at
from payloads import headers, rows_of

from readmit import db, open_files
from readmit.client.api_client import LOAD_TEST_STAY
from readmit.settings import ROOT, ApiClientSettings, PushgatewaySettings, ReaderLogin
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

THINK = "SingleUser 0.5-1.5 s, BatchUser 5-10 s, FormUser 3-8 s (uniform, after each answer)"
MIX = "SingleUser 8 : BatchUser 1 (100 rows) : FormUser 1"
STATIC_SECONDS = 3


class CapacitySettings(ApiClientSettings, ReaderLogin, PushgatewaySettings):
    """The load test: the API, the mart that its rows come from, and where its result is pushed."""


class CannotMeasure(Exception):
    """Something that the measurement needs is missing; the message says what."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python locust/capacity.py", description=__doc__)
    parser.add_argument(
        "--own",
        action="store_true",
        help="start an API here instead of using the one of the settings",
    )
    parser.add_argument("--host", help="address of the server (default: API_URL)")
    parser.add_argument(
        "--model", type=Path, help="with --own: folder of a logged model (default: a stand-in)"
    )
    parser.add_argument(
        "--workers", default="1", help="with --own: API workers of each configuration, as 1,2"
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="generator processes; above 1: master and workers"
    )
    parser.add_argument(
        "--classes", nargs="*", default=[], help="user classes (default: all, by weight)"
    )
    parser.add_argument(
        "--rows", type=Path, help="JSON file with rows to send (default: mart, else the contract)"
    )
    parser.add_argument(
        "--static-path", help="a route that computes nothing (default: /noop with --own, /livez)"
    )
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--start", type=int, default=250, help="users of the first step")
    parser.add_argument("--most", type=int, default=20_000, help="users that are never exceeded")
    parser.add_argument("--seconds", type=float, default=10, help="measured seconds of a step")
    parser.add_argument("--ramp", type=float, default=4, help="seconds in which users start")
    parser.add_argument("--least", type=int, default=1, help="users that must hold for exit code 0")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "build",
        help="folder for capacity.json, .png and .html",
    )
    return parser.parse_args(given)


def mart_rows(
    settings: CapacitySettings, inputs: Sequence[str], n: int = 500
) -> list[dict[str, Any]]:
    """Return the inputs of `n` stays of the mart, read as `reader`; empty when there is no mart to read."""
    chosen = ", ".join(f'"{name}"' for name in inputs)
    query = f"select {chosen} from marts.fct_encounter_features order by md5(encounter_id::text) limit {int(n)}"  # noqa: S608
    with (
        suppress(LookupError, psycopg2.Error),
        db.transaction("reader", settings.clean_database, settings) as found,
    ):
        cursor = found.cursor()
        cursor.execute(query)
        rows = [dict(zip(inputs, row, strict=True)) for row in cursor.fetchall()]
        known = ({name: value for name, value in row.items() if value is not None} for row in rows)
        return [row | {"encounter_id": LOAD_TEST_STAY} for row in known]
    return []


@contextmanager
def payloads(
    given: argparse.Namespace, host: str, settings: CapacitySettings
) -> Iterator[tuple[Path, str]]:
    """Give the file with the rows to send, and where they come from."""
    if given.rows:
        yield given.rows.resolve(), f"the file {given.rows.name}"
        return
    model = (
        httpx.get(f"{host}/model", headers=headers(), timeout=10, trust_env=False)
        .raise_for_status()
        .json()
    )
    inputs = [
        feature["name"] for feature in model["contract"]["features"] if feature["role"] == "input"
    ]
    rows = [] if given.own else mart_rows(settings, inputs)
    if not rows:
        rows, source = rows_of(host), "made from the served contract (no mart to sample from)"
    else:
        source = f"{len(rows)} stays sampled from the mart"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file, default=str)
        file.flush()
        yield Path(file.name), source


@contextmanager
def own_api(workers: int, model: Path | None, cores: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Run the API on a free port, on its own cores; gives its address and process.

    Raises:
        CannotMeasure: it is not ready within a minute.
    """
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("wb") as log:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.model_api:create",
            "--factory",
            "--no-access-log",
        ]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            str(workers),
            "--log-level",
            "error",
        ]
        command += [
            "--timeout-keep-alive",
            "75",
            "--http",
            "serving.protocol:Protocol",
            "--ws",
            "none",
        ]
        extra = {"READMIT_HOME": home, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}
        extra |= {"READMIT_BENCH_MODEL": str(model.resolve())} if model else {}
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(os.environ) | extra, stdout=log, stderr=log
        )
        try:
            psutil.Process(process.pid).cpu_affinity(list(cores))
            wait_ready(f"http://127.0.0.1:{port}", process, Path(home) / "log")
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_ready(
    host: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 60
) -> None:
    """Wait until the API has a model."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{host}/readyz", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(0.3)
    raise CannotMeasure(f"the API did not get ready: {log.read_text(errors='replace')[-1500:]}")


def measure(
    generator: Generator, given: argparse.Namespace, workers: int | None
) -> capacity_report.Result:
    """Warm up, find the generator's own limit, and search `--searches` times."""
    generator.step(max(1, given.start // 4))
    static = static_step(generator)
    found: list[capacity_search.Found] = []
    for number in range(given.searches):
        # Later searches start beside the first result: independent steps, less time.
        start, growth = (
            (int(found[0].users * 0.85), 1.25)
            if found and found[0].users > 10
            else (given.start, 2.0)
        )
        found.append(
            capacity_search.find(
                lambda users: say(generator.step(users)),
                start=start,
                growth=growth,
                most=given.most,
            )
        )
        print(f"search {number + 1}: {found[-1].users} users, limit: {found[-1].limit}", flush=True)
    return capacity_report.Result(workers, tuple(found), static.rate, static.generator_cpu)


def say(step: capacity_search.Step) -> capacity_search.Step:
    """Print a step, and return it."""
    verdict = "holds" if step.holds else "fails"
    print(
        f"  {step.users} users: {step.rate:.0f}/s, p95 {step.p95_ms:.0f} ms, errors {step.error_share:.2%}, "
        f"generator {step.generator_cpu:.0%}: {verdict}",
        flush=True,
    )
    return step


def static_path(given: argparse.Namespace) -> str:
    """Return the route that the API is compared with.

    An API that is started here has one that reads and validates the same body and computes nothing; one that is
    deployed has only its probe.
    """
    return str(given.static_path or ("/noop" if given.own else "/livez"))


def static_step(generator: Generator) -> capacity_search.Step:
    """Measure the route that computes nothing, from users without think time."""
    plain = replace(generator, classes=("StaticUser",), ramp_seconds=1, seconds=STATIC_SECONDS)
    return plain.step(32 * generator.processes)


def placed(workers: int) -> tuple[list[int], list[int], str]:
    """Return the cores of the API and of the generator: apart when there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > workers:
        return cores[:workers], cores[workers:], "API and generator on cores of their own"
    return cores, cores, f"API and generator share {len(cores)} cores"


def standalone(
    given: argparse.Namespace, settings: CapacitySettings
) -> tuple[dict[str, Any], list[capacity_report.Result]]:
    """Measure an API that is started here, for each number of workers."""
    results: list[capacity_report.Result] = []
    found: dict[str, Any] = {}
    for workers in (int(part) for part in given.workers.split(",")):
        api, cores, place = placed(workers)
        with (
            own_api(workers, given.model, api) as (host, pid),
            payloads(given, host, settings) as (rows, source),
        ):
            found |= {f"placement, {workers} API workers": place, "payloads": source}
            print(f"API workers: {workers}; {place}", flush=True)
            results.append(measure(made(given, host, rows, cores, [pid]), given, workers))
    model = (
        str(given.model.name) if given.model else "stand-in (a logistic score), not a trained model"
    )
    return {"model": model} | found, results


def deployed(
    given: argparse.Namespace, settings: CapacitySettings
) -> tuple[dict[str, Any], list[capacity_report.Result]]:
    """Measure the server of the settings."""
    host = (given.host or settings.api_url).rstrip("/")
    pids, workers = processes_at(host)
    with payloads(given, host, settings) as (rows, source):
        result = measure(made(given, host, rows, free_cores(pids), pids), given, workers or None)
    where = (
        "one machine for the server and the generator"
        if pids
        else "the server is on another machine"
    )
    return {"host": host, "placement": where, "payloads": source}, [result]


def free_cores(pids: Sequence[int]) -> list[int]:
    """Return the cores that the server is not bound to; none when it may use all."""
    taken = {core for pid in pids for core in psutil.Process(pid).cpu_affinity()}
    return sorted(os.sched_getaffinity(0) - taken) if taken else []


def made(
    given: argparse.Namespace,
    host: str,
    rows: Path | None,
    cores: Sequence[int],
    pids: Sequence[int],
) -> Generator:
    """Return the generator as the command line wants it."""
    return Generator(
        host,
        given.classes,
        given.processes,
        given.ramp,
        given.seconds,
        rows,
        cores,
        pids,
        static_path(given),
    )


def is_for_dashboards(given: argparse.Namespace) -> bool:
    """Tell whether a result may stand as the API's maximum: the default mix of users, on a trained model."""
    return not given.classes and (given.model is not None or not given.own)


def main() -> int:
    """Command line of `make capacity`."""
    given, settings = arguments(), CapacitySettings()
    if too_low := open_files.raise_limit():
        print(too_low, file=sys.stderr)
    try:
        conditions, results = (
            standalone(given, settings) if given.own else deployed(given, settings)
        )
    except (CannotMeasure, LoadFailed, httpx.HTTPError) as error:
        print(f"error: cannot measure: {error}", file=sys.stderr)
        return 2
    classes = ", ".join(given.classes) or MIX
    conditions |= {
        "mix": classes,
        "think_time": THINK,
        "cores": os.cpu_count(),
        "generators": given.processes,
    }
    conditions |= {"static_route": static_path(given)}
    capacity_report.write(given.output, conditions, results)
    if is_for_dashboards(given):
        pushgateway.report(Job.LOAD_TEST, lambda: capacity_report.figures(results), settings)
    for line in (capacity_report.HEADINGS, *capacity_report.lines(results)):
        print(" | ".join(line))
    print(f"report: {given.output / 'capacity.html'}")
    return 0 if all(each.users >= given.least and each.agree for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
