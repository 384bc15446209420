"""`make capacity`: the maximum number of users for which the SLO holds. Method: docs/load.md.

It measures the API of the settings (READMIT_API_URL), or with --own an API that is started on this
machine, without a stack. Exit code: 0 when every configuration holds --least users and its searches
agree, 1 otherwise, 2 when it cannot measure.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import capacity_report
import httpx
import psutil
import psycopg2
from capacity_report import Conditions, Result
from capacity_search import SearchResult, Step, find
from load_step import Generator, LoadFailed, processes_at
from load_target import confirm_target
from own_api import CannotMeasure, own_api, reference_model
from payloads import Row, api_key, inputs_of, rows_of

from readmit import db, open_files
from readmit.client.api_client import LOAD_TEST_STAY, ApiDown, Client, Problem
from readmit.confirmation import NotConfirmed
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT, ApiClientSettings, PushgatewaySettings, ReaderLogin
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

THINK = "SingleUser 0.5-1.5 s, BatchUser 5-10 s, FormUser 3-8 s (uniform, after each answer)"
MIX = "SingleUser 8 : BatchUser 1 (100 rows) : FormUser 1"
STATIC_SECONDS = 3
STATIC_USERS_PER_PROCESS = 32
# Later searches start just below the first result: independent steps, less time.
LATER_START = 0.85
LATER_GROWTH = 1.25
FEWEST_USERS_FOR_LATER_START = 10


class CapacitySettings(ApiClientSettings, ReaderLogin, PushgatewaySettings):
    """The API, the mart that rows are sampled from, and the Pushgateway for the result."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    own: bool
    host: str | None
    model: Path | None
    workers: Sequence[int]
    processes: int
    classes: Sequence[str]
    rows: Path | None
    static_path: str | None
    searches: int
    start: int
    most: int
    seconds: float
    ramp: float
    least: int
    output: Path


def comma_separated(text: str) -> list[int]:
    """Return the numbers of a list like `1,2`."""
    return [int(number) for number in text.split(",")]


def arguments(words: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python locust/capacity.py", description=__doc__)
    add = parser.add_argument
    add("--own", action="store_true", help="start an API instead of using the one of the settings")
    add("--host", help="address of the server (default: READMIT_API_URL)")
    add("--model", type=Path, help="with --own: folder of a logged model (default: that of bench)")
    add(
        "--workers",
        type=comma_separated,
        default=[1],
        help="with --own: API workers of each configuration, as 1,2",
    )
    add("--processes", type=int, default=1, help="generator processes; above 1: master and workers")
    add("--classes", nargs="*", default=[], help="user classes (default: all, by weight)")
    add("--rows", type=Path, help="JSON file with rows to send (default: mart, else the contract)")
    add("--static-path", help="a route that computes nothing (default: /noop with --own, /livez)")
    add("--searches", type=int, default=3)
    add("--start", type=int, default=250, help="users of the first step")
    add("--most", type=int, default=20_000, help="users that are never exceeded")
    add("--seconds", type=float, default=10, help="measured seconds of a step")
    add("--ramp", type=float, default=4, help="seconds in which users start")
    add("--least", type=int, default=1, help="users that must hold for exit code 0")
    add("--output", type=Path, default=ROOT / "build", help="folder for capacity.json, .png, .html")
    return Options(**vars(parser.parse_args(words)))


def mart_rows(settings: CapacitySettings, inputs: Sequence[str], n: int = 500) -> list[Row]:
    """Return the inputs of `n` stays of the mart, read as `reader`.

    Empty when there is no mart to read.
    """
    columns = ", ".join(f'"{name}"' for name in inputs)
    query = (
        f"select {columns} from marts.fct_encounter_features "  # noqa: S608 (the contract's names)
        f"order by md5(encounter_id::text) limit {int(n)}"
    )
    rows: list[Row] = []
    with (
        suppress(LookupError, psycopg2.Error),
        db.transaction("reader", settings.clean_database, settings) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        for values in cursor.fetchall():
            row: Row = {"encounter_id": LOAD_TEST_STAY}
            for name, value in zip(inputs, values, strict=True):
                if value is not None:
                    row[name] = value
            rows.append(row)
    return rows


@contextmanager
def payload_file(
    options: Options, host: str, settings: CapacitySettings
) -> Iterator[tuple[Path, str]]:
    """Give the file with the rows to send, and their source in words."""
    if options.rows:
        yield options.rows.resolve(), f"the file {options.rows.name}"
        return
    with Client(host, api_key=api_key()) as api:
        inputs = [feature["name"] for feature in inputs_of(api.model()["contract"])]
    rows: list[Row] = []
    if not options.own:
        rows = mart_rows(settings, inputs)
        source = f"{len(rows)} stays sampled from the mart"
    if not rows:
        rows = rows_of(host)
        source = "made from the served contract (no mart to sample from)"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file, default=str)
        file.flush()
        yield Path(file.name), source


def measure(generator: Generator, options: Options, workers: int | None) -> Result:
    """Warm up, measure the route that computes nothing, and search `--searches` times."""
    generator.step(max(1, options.start // 4))
    static = static_step(options, generator)
    searches: list[SearchResult] = []
    for number in range(1, options.searches + 1):
        start = options.start
        growth = 2.0
        if searches and searches[0].users > FEWEST_USERS_FOR_LATER_START:
            start = int(searches[0].users * LATER_START)
            growth = LATER_GROWTH
        search = find(
            partial(_printed_step, generator),
            start=start,
            growth=growth,
            most_users=options.most,
        )
        searches.append(search)
        print(f"search {number}: {search.users} users, limit: {search.limit}", flush=True)
    return Result(workers, tuple(searches), static.rate, static.generator_cpu)


def _printed_step(generator: Generator, users: int) -> Step:
    step = generator.step(users)
    verdict = "holds" if step.holds else "fails"
    print(
        f"  {step.users} users: {step.rate:.0f}/s, p95 {step.p95_ms:.0f} ms, "
        f"errors {step.error_share:.2%}, generator {step.generator_cpu:.0%}: {verdict}",
        flush=True,
    )
    return step


def static_path(options: Options) -> str:
    """Return the route that the API is compared with.

    An API that is started for the search has one that reads and validates the same body and
    computes nothing; a deployed one has only its probe.
    """
    if options.static_path:
        return options.static_path
    return "/noop" if options.own else "/livez"


def static_step(options: Options, generator: Generator) -> Step:
    """Measure the route that computes nothing, from users without think time."""
    static = replace(generator, classes=("StaticUser",), ramp_seconds=1, seconds=STATIC_SECONDS)
    return static.step(STATIC_USERS_PER_PROCESS * options.processes)


def split_cores(workers: int) -> tuple[list[int], list[int], str]:
    """Return the cores of the API, those of the generator, and whether they are apart, in words."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > workers:
        return cores[:workers], cores[workers:], "API and generator on cores of their own"
    return cores, cores, f"API and generator share {len(cores)} cores"


def measure_own(options: Options, settings: CapacitySettings) -> tuple[Conditions, list[Result]]:
    """Measure an API that is started on this machine, for each number of workers."""
    results = []
    conditions: Conditions = {"model": "the folder of --model"}
    model = options.model
    if model is None:
        model = reference_model()
        conditions["model"] = "the model of make bench"
    conditions["model"] += f" ({model.name})"
    for workers in options.workers:
        api_cores, generator_cores, placement = split_cores(workers)
        with (
            own_api(workers, model, api_cores) as (host, pid),
            payload_file(options, host, settings) as (rows, source),
        ):
            conditions[f"placement, {workers} API workers"] = placement
            conditions["payloads"] = source
            print(f"API workers: {workers}; {placement}", flush=True)
            generator = make_generator(options, host, rows, generator_cores, [pid])
            results.append(measure(generator, options, workers))
    return conditions, results


def measure_deployed(
    options: Options, settings: CapacitySettings
) -> tuple[Conditions, list[Result]]:
    """Measure the server of the settings."""
    host = (options.host or settings.api_url).rstrip("/")
    confirm_target(host)
    os.environ["READMIT_YES"] = "1"  # the generators, which have no terminal, ask no second time
    pids, workers = processes_at(host)
    with payload_file(options, host, settings) as (rows, source):
        generator = make_generator(options, host, rows, free_cores(pids), pids)
        result = measure(generator, options, workers or None)
    placement = "the server is on another machine"
    if pids:
        placement = "one machine for the server and the generator"
    return {"host": host, "placement": placement, "payloads": source}, [result]


def free_cores(pids: Sequence[int]) -> list[int]:
    """Return the cores that the server is not bound to; none when it may use all."""
    server_cores: set[int] = set()
    for pid in pids:
        server_cores.update(psutil.Process(pid).cpu_affinity())
    if not server_cores:
        return []
    return sorted(os.sched_getaffinity(0) - server_cores)


def make_generator(
    options: Options, host: str, rows: Path, cores: Sequence[int], api: Sequence[int]
) -> Generator:
    """Return the generator of a command line."""
    return Generator(
        host,
        classes=options.classes,
        processes=options.processes,
        ramp_seconds=options.ramp,
        seconds=options.seconds,
        rows=rows,
        cores=cores,
        api=api,
        static_path=static_path(options),
    )


def is_for_dashboards(options: Options) -> bool:
    """Tell whether a result may stand as the API's maximum: the default mix, on a trained model."""
    has_trained_model = options.model is not None or not options.own
    return has_trained_model and not options.classes


def exit_code(results: Sequence[Result], least: int) -> int:
    """Return 0 when every configuration holds so many users and its searches agree, else 1."""
    for result in results:
        if result.users < least or not result.agree:
            return 1
    return 0


def main() -> int:
    """Command line of `make capacity`."""
    limit_too_low = open_files.raise_limit()
    if limit_too_low:
        print(limit_too_low, file=sys.stderr)
    options = arguments()
    settings = CapacitySettings()
    try:
        if options.own:
            conditions, results = measure_own(options, settings)
        else:
            conditions, results = measure_deployed(options, settings)
    except (CannotMeasure, LoadFailed, ApiDown, Problem, httpx.HTTPError, NotConfirmed) as error:
        print(f"error: cannot measure: {error}", file=sys.stderr)
        return 2
    conditions |= {
        "mix": ", ".join(options.classes) or MIX,
        "think_time": THINK,
        "cores": os.cpu_count(),
        "generators": options.processes,
        "static_route": static_path(options),
    }
    capacity_report.write(options.output, conditions, results)
    if is_for_dashboards(options):
        pushgateway.report(Job.LOAD_TEST, partial(capacity_report.gauges, results), settings)
    for line in (capacity_report.HEADINGS, *capacity_report.lines(results)):
        print(" | ".join(line))
    print(f"report: {options.output / 'capacity.html'}")
    return exit_code(results, options.least)


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
