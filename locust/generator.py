"""One step of the search: Locust with a number of users, and the CPU that it and the API took meanwhile."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from search import Step

HERE = Path(__file__).resolve().parent
# Locust's time begins before its users do; a busy machine starts them late, then a step is measured again.
MARGINS_SECONDS = (3, 8)
OTHERS = {"StaticUser", "MlflowUser"}
Entry = dict[str, Any]  # Locust's figures of one route
Sample = tuple[float, float, float]  # epoch seconds; CPU seconds of the generator; of the API


class LoadFailed(Exception):
    """Locust did not measure anything; the message is the end of its log."""


@dataclass(frozen=True)
class Generator:
    """How Locust is started. `cores` are the processors it may use; `api` the API's processes on this machine."""

    host: str
    classes: Sequence[str] = ()
    processes: int = 1
    ramp_seconds: float = 4
    seconds: float = 10
    rows: Path | None = None
    cores: Sequence[int] = ()
    api: Sequence[int] = field(default=())

    def step(self, users: int) -> Step:
        """Hold so many users for `seconds` after the ramp, and return what was measured in that time.

        Raises:
            LoadFailed: there are no figures.
        """
        for margin in MARGINS_SECONDS:
            with tempfile.TemporaryDirectory() as folder:
                stats, samples = self._run(users, Path(folder), margin)
            if counted_seconds(stats) >= 0.7 * self.seconds:
                break
        return summary(users, stats, samples, self.processes, self.seconds)

    def command(self, users: int, output: Path, margin: float = 0) -> list[str]:
        """Return Locust's command line; with several processes it is a master and that many workers."""
        rate, seconds = max(1.0, users / self.ramp_seconds), self.ramp_seconds + self.seconds
        file = "others.py" if set(self.classes) & OTHERS else "locustfile.py"
        command = [sys.executable, "-m", "locust", "-f", str(HERE / file), "--headless", "--reset-stats"]
        command += [
            "--host",
            self.host,
            "-u",
            str(users),
            "-r",
            str(rate),
            "-t",
            f"{round(seconds)}s",
            "--only-summary",
        ]
        command += ["--json-file", str(output), "--exit-code-on-error", "0", "--loglevel", "ERROR"]
        command += ["--processes", str(self.processes)] if self.processes > 1 else []
        return [*command, *self.classes]

    def _run(self, users: int, folder: Path, margin: float) -> tuple[list[Entry], list[Sample]]:
        environment = dict(os.environ) | ({"LOAD_ROWS": str(self.rows)} if self.rows else {})
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(users, folder / "stats", margin), cwd=folder, env=environment, stdout=log, stderr=log
            )
            if self.cores:
                psutil.Process(process.pid).cpu_affinity(list(self.cores))
            samples = _watch(process, self.api, limit=self.ramp_seconds + self.seconds + 120)
        try:
            stats: list[Entry] = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            raise LoadFailed((folder / "log").read_text(errors="replace")[-2000:]) from None
        return stats, samples


def _watch(process: "subprocess.Popen[bytes]", api: Sequence[int], limit: float) -> list[Sample]:
    """Sample CPU times until the process ends; it is killed, with its children, at the limit."""
    samples: list[Sample] = []
    killer = threading.Timer(limit, process.kill)
    killer.start()
    try:
        while process.poll() is None:
            samples.append((time.time(), cpu_seconds([process.pid]), cpu_seconds(api)))
            time.sleep(0.25)
    finally:
        killer.cancel()
    return samples


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of processes and their living children."""
    total = 0.0
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                used = process.cpu_times()
                total += used.user + used.system
        except psutil.NoSuchProcess:
            continue
    return total


def counted_seconds(stats: Sequence[Entry]) -> float:
    """Return the time from the start of counting to the last answer."""
    starts = [entry["start_time"] for entry in stats]
    return max((entry["last_request_timestamp"] or 0 for entry in stats), default=0) - min(starts, default=0)


def summary(users: int, stats: Sequence[Entry], samples: Sequence[Sample], processes: int, window: float) -> Step:
    """Return the step that Locust's figures and the samples give; the window is the one of the figures."""
    if not stats:
        # Nobody answered, or the generator never got all users started: its CPU tells which.
        busy, api = _cores(samples)
        return Step(users, 0, float("inf"), 1, busy / processes, api)
    start = min(entry["start_time"] for entry in stats)
    # Not only until the last answer: a server that stops answering must not look fast.
    last = max(entry["last_request_timestamp"] or entry["start_time"] for entry in stats)
    end = max(last, min(start + window, samples[-1][0]) if samples else last)
    seconds = max(end - start, 1e-9)
    times: Counter[float] = Counter()
    for entry in stats:
        times.update({float(ms): count for ms, count in entry["response_times"].items()})
    requests, failures = (sum(entry[key] for entry in stats) for key in ("num_requests", "num_failures"))
    inside = [sample for sample in samples if start <= sample[0] <= end]
    generator, api = _cores(inside)
    share = failures / requests if requests else 1.0
    return Step(users, requests / seconds, percentile(times, 0.95), share, generator / processes, api)


def percentile(times: Counter[float], share: float) -> float:
    """Return the value that `share` of the counted values do not exceed; infinite without values."""
    wanted, seen = share * times.total(), 0
    for value in sorted(times):
        seen += times[value]
        if seen >= wanted:
            return value
    return float("inf")


def _cores(samples: Sequence[Sample]) -> tuple[float, float | None]:
    if len(samples) < 2:
        return 0.0, None
    (first, generator, api), (last, generator_end, api_end) = samples[0], samples[-1]
    seconds = last - first
    return (generator_end - generator) / seconds, (api_end - api) / seconds if api_end > 0 else None


def processes_at(host: str) -> list[int]:
    """Return the processes of this machine that listen at an address; empty when it is another machine's."""
    port = int(host.rsplit(":", 1)[1].strip("/")) if host.count(":") > 1 else 80
    found = (item for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN)
    return sorted({item.pid for item in found if item.laddr.port == port and item.pid})
