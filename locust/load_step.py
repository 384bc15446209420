"""One step of the search.

Locust with a number of users, and the CPU that it and the API used meanwhile.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil
from capacity_search import Step

from readmit.settings import ROOT

FOLDER = Path(__file__).resolve().parent
# Locust's time begins before its users do. A busy machine starts them late; then the step is
# measured again, for longer.
MARGINS_SECONDS = (0, 8)
# A step is measured again when it counted less than this share of its time.
LEAST_COUNTED = 0.7
SECONDS_BEFORE_KILL = 120
SECONDS_BETWEEN_SAMPLES = 0.25
COMPARISON_CLASSES = {"StaticUser", "MlflowUser"}


class LoadFailed(Exception):
    """Locust did not measure anything; the message is the end of its log."""


class RouteStats(TypedDict):
    """Locust's counts of one route.

    Times in epoch seconds, response times in ms with their number.
    """

    start_time: float
    last_request_timestamp: float | None
    response_times: dict[str, int]
    num_requests: int
    num_failures: int


@dataclass(frozen=True)
class Sample:
    """CPU seconds used until a time.

    By the generator, by the API, by all processes of the machine.
    """

    time: float  # epoch seconds
    generator: float
    api: float
    machine: float


@dataclass(frozen=True)
class CoresUsed:
    """Cores that generator and API used (None.

    Not on this machine), and the share of all cores in use.
    """

    generator: float
    api: float | None
    machine: float


@dataclass(frozen=True)
class Generator:
    """How Locust is started.

    `cores` are the processors that it may use; `api` are the API's processes on this machine.
    """

    host: str
    classes: Sequence[str] = ()
    processes: int = 1
    ramp_seconds: float = 4
    seconds: float = 10
    rows: Path | None = None
    cores: Sequence[int] = ()
    api: Sequence[int] = ()
    static_path: str = "/livez"

    def step(self, users: int) -> Step:
        """Hold so many users for `seconds` after the ramp, and return what was measured then.

        Raises:
            LoadFailed: Locust counted nothing.
        """
        for margin in MARGINS_SECONDS:
            with tempfile.TemporaryDirectory() as folder:
                stats, samples = self._run(users, Path(folder), margin)
            if counted_seconds(stats) >= LEAST_COUNTED * self.seconds:
                break
        return summary(users, stats, samples, self.processes, self.seconds)

    def command(self, users: int, output: Path, margin: float = 0) -> list[str]:
        """Return Locust's command line.

        With several processes it is a master and that many workers.
        """
        file = FOLDER / "locustfile.py"
        if COMPARISON_CLASSES.intersection(self.classes):
            file = FOLDER / "comparison_users.py"
        users_per_second = max(1.0, users / self.ramp_seconds)
        seconds = round(self.ramp_seconds + self.seconds + margin)
        command = [sys.executable, "-m", "locust", "-f", str(file), "--host", self.host]
        command += ["-u", str(users), "-r", str(users_per_second), "-t", f"{seconds}s"]
        command += ["--headless", "--only-summary", "--reset-stats", "--json-file", str(output)]
        command += ["--exit-code-on-error", "0", "--loglevel", "ERROR"]
        if self.processes > 1:
            command += ["--processes", str(self.processes)]
        return [*command, *self.classes]

    def _run(
        self, users: int, folder: Path, margin: float
    ) -> tuple[list[RouteStats], list[Sample]]:
        environment = os.environ | {
            "LOAD_STATIC_PATH": self.static_path,
            "PYTHONPATH": str(ROOT),
        }
        if self.rows:
            environment["LOAD_ROWS"] = str(self.rows)
        command = self.command(users, folder / "stats", margin)
        limit = self.ramp_seconds + self.seconds + margin + SECONDS_BEFORE_KILL
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            if self.cores:
                psutil.Process(process.pid).cpu_affinity(list(self.cores))
            samples = _sample_until_end(process, self.api, limit)
        try:
            stats: list[RouteStats] = json.loads(
                (folder / "stats.json").read_text(encoding="utf-8")
            )
        except (OSError, json.JSONDecodeError):
            raise LoadFailed((folder / "log").read_text(errors="replace")[-2000:]) from None
        return stats, samples


def _sample_until_end(
    process: "subprocess.Popen[bytes]", api: Sequence[int], limit: float
) -> list[Sample]:
    """Sample CPU times until the process ends; it is killed, with its children, at the limit."""
    samples: list[Sample] = []
    killer = threading.Timer(limit, _kill, [process.pid])
    killer.start()
    try:
        while process.poll() is None:
            generator_seconds = cpu_seconds([process.pid])
            samples.append(
                Sample(time.time(), generator_seconds, cpu_seconds(api), machine_seconds())
            )
            time.sleep(SECONDS_BETWEEN_SAMPLES)
    finally:
        killer.cancel()
    return samples


def _kill(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (*parent.children(recursive=True), parent):
            process.kill()


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of processes and their living children."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def machine_seconds() -> float:
    """Return the CPU time that all cores of this machine have spent on anything but waiting."""
    spent = psutil.cpu_times()
    return float(spent.user + spent.nice + spent.system + spent.irq + spent.softirq + spent.steal)


def counted_seconds(stats: Sequence[RouteStats]) -> float:
    """Return the time from the start of counting to the last answer."""
    if not stats:
        return 0.0
    return _last_answer(stats) - _first_start(stats)


def _first_start(stats: Sequence[RouteStats]) -> float:
    return min(route["start_time"] for route in stats)


def _last_answer(stats: Sequence[RouteStats]) -> float:
    """Return when the last answer came; of a route without answers its start counts."""
    return max(route["last_request_timestamp"] or route["start_time"] for route in stats)


def summary(
    users: int,
    stats: Sequence[RouteStats],
    samples: Sequence[Sample],
    processes: int,
    window: float,
) -> Step:
    """Return the step that Locust's counts and the samples of the same time give.

    Args:
        users: how many there were.
        stats: Locust's counts by route.
        samples: CPU times, in order.
        processes: generator processes.
        window: seconds that the step was to be measured.
    """
    if not stats:
        # Nobody answered, or the generator never got all users started: its CPU tells which.
        cores = cores_used(samples)
        busy = cores.generator / processes
        return Step(users, 0, float("inf"), 1, busy, cores.api, cores.machine)
    start = _first_start(stats)
    end = _last_answer(stats)
    if samples:
        # Not only the last answer counts: a server that stops answering must not look fast.
        end = max(end, min(start + window, samples[-1].time))
    seconds = max(end - start, 1e-9)
    times: Counter[float] = Counter()
    requests = 0
    failures = 0
    for route in stats:
        requests += route["num_requests"]
        failures += route["num_failures"]
        for milliseconds, count in route["response_times"].items():
            times[float(milliseconds)] += count
    cores = cores_used([sample for sample in samples if start <= sample.time <= end])
    return Step(
        users,
        rate=requests / seconds,
        p95_ms=percentile(times, 0.95),
        error_share=failures / requests if requests else 1.0,
        generator_cpu=cores.generator / processes,
        api_cpu=cores.api,
        machine_cpu=cores.machine,
    )


def percentile(times: Counter[float], share: float) -> float:
    """Return the value that `share` of the counted values do not exceed.

    Infinite without values.
    """
    target = share * times.total()
    counted = 0
    for value in sorted(times):
        counted += times[value]
        if counted >= target:
            return value
    return float("inf")


def cores_used(samples: Sequence[Sample]) -> CoresUsed:
    """Return the cores in use between the first and the last sample."""
    if len(samples) < 2:
        return CoresUsed(0.0, None, 0.0)
    first = samples[0]
    last = samples[-1]
    seconds = last.time - first.time
    is_api_here = last.api > 0
    return CoresUsed(
        generator=(last.generator - first.generator) / seconds,
        api=(last.api - first.api) / seconds if is_api_here else None,
        machine=(last.machine - first.machine) / seconds / (os.cpu_count() or 1),
    )


def processes_at(host: str) -> tuple[list[int], int]:
    """Return the processes of this machine that listen at an address, and its number of workers.

    Children of one of these processes are left out: `cpu_seconds` counts them. An address of
    another machine has no process here.
    """
    port = int(host.rsplit(":", 1)[1].strip("/")) if host.count(":") > 1 else 80
    parents = {}
    for process in psutil.process_iter():
        if _listens(process, port):
            parents[process.pid] = process.ppid()
    workers = [pid for pid, parent in parents.items() if parent in parents]
    roots = sorted(set(parents).difference(workers))
    return roots, len(workers) or len(roots)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:  # it has ended, or is another user's
        return False
    listening = psutil.CONN_LISTEN
    ports = [connection.laddr.port for connection in connections if connection.status == listening]
    return port in ports
