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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from capacity_search import Step

HERE = Path(__file__).resolve().parent
# Locust's time begins before its users do; a busy machine starts them late, then a step is measured again, for longer.
MARGINS_SECONDS = (0, 8)
OTHERS = {"StaticUser", "MlflowUser"}
Entry = dict[str, Any]  # Locust's figures of one route
Sample = tuple[
    float, float, float, float
]  # epoch seconds; CPU seconds of the generator; of the API; of all processes


class LoadFailed(Exception):
    """Locust did not measure anything; the message is the end of its log."""


@dataclass(frozen=True)
class Generator:
    """How Locust is started: `cores` are the processors that it may use, `api` the API's processes on this machine."""

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
        rate, seconds = (
            max(1.0, users / self.ramp_seconds),
            self.ramp_seconds + self.seconds + margin,
        )
        file = "comparison_users.py" if set(self.classes) & OTHERS else "locustfile.py"
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(HERE / file),
            "--headless",
            "--only-summary",
        ]
        command += [
            "--host",
            self.host,
            "-u",
            str(users),
            "-r",
            str(rate),
            "-t",
            f"{round(seconds)}s",
            "--reset-stats",
        ]
        command += ["--json-file", str(output), "--exit-code-on-error", "0", "--loglevel", "ERROR"]
        command += ["--processes", str(self.processes)] if self.processes > 1 else []
        return [*command, *self.classes]

    def _run(self, users: int, folder: Path, margin: float) -> tuple[list[Entry], list[Sample]]:
        environment = os.environ | {"LOAD_STATIC_PATH": self.static_path}
        environment |= {"LOAD_ROWS": str(self.rows)} if self.rows else {}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(users, folder / "stats", margin),
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
            if self.cores:
                psutil.Process(process.pid).cpu_affinity(list(self.cores))
            samples = _watch(
                process, self.api, limit=self.ramp_seconds + self.seconds + margin + 120
            )
        try:
            stats: list[Entry] = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            raise LoadFailed((folder / "log").read_text(errors="replace")[-2000:]) from None
        return stats, samples


def _watch(process: "subprocess.Popen[bytes]", api: Sequence[int], limit: float) -> list[Sample]:
    """Sample CPU times until the process ends; it is killed, with its children, at the limit."""
    samples: list[Sample] = []
    killer = threading.Timer(limit, _kill, [process.pid])
    killer.start()
    try:
        while process.poll() is None:
            samples.append(
                (time.time(), cpu_seconds([process.pid]), cpu_seconds(api), machine_seconds())
            )
            time.sleep(0.25)
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
        try:
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                used = process.cpu_times()
                total += used.user + used.system
        except psutil.NoSuchProcess:
            continue
    return total


def machine_seconds() -> float:
    """Return the CPU time that all cores of this machine have spent on anything but waiting."""
    spent = psutil.cpu_times()
    return float(spent.user + spent.nice + spent.system + spent.irq + spent.softirq + spent.steal)


def counted_seconds(stats: Sequence[Entry]) -> float:
    """Return the time from the start of counting to the last answer."""
    starts = [entry["start_time"] for entry in stats]
    return max((entry["last_request_timestamp"] or 0 for entry in stats), default=0) - min(
        starts, default=0
    )


def summary(
    users: int, stats: Sequence[Entry], samples: Sequence[Sample], processes: int, window: float
) -> Step:
    """Return the step that Locust's figures and the samples give; the window is the one of the figures."""
    if not stats:
        # Nobody answered, or the generator never got all users started: its CPU tells which.
        busy, api, machine = _cores(samples)
        return Step(users, 0, float("inf"), 1, busy / processes, api, machine)
    start = min(entry["start_time"] for entry in stats)
    # Not only until the last answer: a server that stops answering must not look fast.
    last = max(entry["last_request_timestamp"] or entry["start_time"] for entry in stats)
    end = max(last, min(start + window, samples[-1][0]) if samples else last)
    seconds = max(end - start, 1e-9)
    times: Counter[float] = Counter()
    for entry in stats:
        times.update({float(ms): count for ms, count in entry["response_times"].items()})
    requests, failures = (
        sum(entry[key] for entry in stats) for key in ("num_requests", "num_failures")
    )
    inside = [sample for sample in samples if start <= sample[0] <= end]
    generator, api, machine = _cores(inside)
    share = failures / requests if requests else 1.0
    return Step(
        users,
        requests / seconds,
        percentile(times, 0.95),
        share,
        generator / processes,
        api,
        machine,
    )


def percentile(times: Counter[float], share: float) -> float:
    """Return the value that `share` of the counted values do not exceed; infinite without values."""
    wanted, seen = share * times.total(), 0
    for value in sorted(times):
        seen += times[value]
        if seen >= wanted:
            return value
    return float("inf")


def _cores(samples: Sequence[Sample]) -> tuple[float, float | None, float]:
    """Return the cores that generator and API used (None: not on this machine), and the share of all cores in use."""
    if len(samples) < 2:
        return 0.0, None, 0.0
    first, last = samples[0], samples[-1]
    seconds, generator, api, machine = (end - begin for begin, end in zip(first, last, strict=True))
    cores = os.cpu_count() or 1
    return generator / seconds, api / seconds if last[2] > 0 else None, machine / seconds / cores


def processes_at(host: str) -> tuple[list[int], int]:
    """Return the processes of this machine that listen at an address, and how many workers answer there.

    Processes that one of them started are left out: `cpu_seconds` counts them. Of another machine's there are none.
    """
    port = int(host.rsplit(":", 1)[1].strip("/")) if host.count(":") > 1 else 80
    parents = {
        process.pid: process.ppid() for process in psutil.process_iter() if _listens(process, port)
    }
    started = [pid for pid, parent in parents.items() if parent in parents]
    roots = sorted(set(parents) - set(started))
    return roots, len(started) or len(roots)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:  # it has ended, or is another user's
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in found)
