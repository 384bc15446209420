"""`python -m stack.watchdog`: restart programs that run and do not answer.

The supervisor restarts what dies; this program looks for what hangs, as a liveness probe does on
Kubernetes. It is slow to act, because a restart on a busy machine makes the machine busier:

- A program must not have answered for a while, `PATIENCE`. One that uses the processor is busy
  rather than hung and has longer, `BUSY_PATIENCE`.
- A program that has just started has time to get ready, `GRACE`.
- While a program does not answer, those that need it for their own answer are left alone.
- There is one restart at a time, and at most `MAX_RESTARTS` of a program per hour.

Postgres that recovers or shuts down says so to a client: that is an answer. It is restarted only
when it does not answer at all and no process of it replays the log. The supervisor then asks it to
stop (SIGINT) and kills it after a minute. Postgres loses nothing by that: it recovers from its log.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil

from readmit.settings import StackSettings
from stack import processes, readiness
from stack.programs import AIRFLOW_PROGRAMS, WATCHED, Program
from stack.supervisor import Supervisor

PERIOD = 30.0  # seconds between two rounds
PATIENCE = 90.0
STORAGE_PATIENCE = 300.0
BUSY_PATIENCE = 600.0
BUSY_SHARE = 0.05  # of one processor
GRACE = 600.0
HOUR = 3600.0
MAX_RESTARTS = 3
STORAGE = ("postgres", "s3")
# The health of Airflow's parts comes from the database, by way of the api-server.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "airflow-api-server": ("postgres",),
    **dict.fromkeys(AIRFLOW_PROGRAMS[1:], ("postgres", "airflow-api-server")),
}


@dataclass
class Observation:
    """What is known of one process of a program.

    Attributes:
        pid: the process.
        was_ready: whether it has answered since it started.
        silent_since: the time of the first check that it did not answer, by the monotonic clock.
        cpu_seconds: the processor time that it and its descendants had used by then.
    """

    pid: int
    was_ready: bool = False
    silent_since: float | None = None
    cpu_seconds: float = 0.0


@dataclass
class Watchdog:
    """Looks at programs in rounds and restarts the ones that hang."""

    settings: StackSettings
    supervisor: Supervisor
    programs: Sequence[Program]
    patience: float = PATIENCE
    storage_patience: float = STORAGE_PATIENCE
    is_alive: Callable[[Program, StackSettings], bool] = readiness.is_alive
    clock: Callable[[], float] = time.monotonic
    _observations: dict[str, Observation] = field(default_factory=dict)
    _restarts: dict[str, list[float]] = field(default_factory=dict)

    def look(self) -> str | None:
        """Check every program that runs, and restart one that hangs.

        Returns:
            The name of the program that was restarted, or None.
        """
        states = self.supervisor.states()
        running = []
        for program in self.programs:
            if states.get(program.name, {}).get("statename") == "RUNNING":
                running.append(program)
        with ThreadPoolExecutor(max_workers=len(running) or 1) as pool:
            answers = list(pool.map(lambda program: self.is_alive(program, self.settings), running))
        silent = set()
        for program, answers_now in zip(running, answers, strict=True):
            self._observe(program.name, states[program.name], answers_now)
            if not answers_now:
                silent.add(program.name)
        for program in running:
            if program.name in silent and silent.isdisjoint(NEEDS.get(program.name, ())):
                reason = self._reason_to_restart(program.name, states[program.name])
                if reason:
                    self._restart(program.name, reason)
                    return program.name
        return None

    def _observe(self, name: str, state: Mapping[str, Any], answers: bool) -> None:
        pid = int(state["pid"])
        observation = self._observations.get(name)
        if observation is None or observation.pid != pid:
            observation = Observation(pid)
            self._observations[name] = observation
        if answers:
            observation.was_ready = True
            observation.silent_since = None
        elif observation.silent_since is None:
            observation.silent_since = self.clock()
            observation.cpu_seconds = _cpu_seconds(pid)

    def _reason_to_restart(self, name: str, state: Mapping[str, Any]) -> str:
        """Return why a program that does not answer is restarted now, or an empty text."""
        observation = self._observations[name]
        if observation.silent_since is None:
            return ""
        seconds = self.clock() - observation.silent_since
        age = int(state["now"]) - int(state["start"])
        if not observation.was_ready and age < GRACE:
            return ""
        used = _cpu_seconds(observation.pid) - observation.cpu_seconds
        is_busy = used > BUSY_SHARE * seconds
        limit = self.storage_patience if name in STORAGE else self.patience
        if seconds < (BUSY_PATIENCE if is_busy else limit):
            return ""
        if name == "postgres" and _replays_its_log(observation.pid):
            return ""
        now = self.clock()
        recent = [restart for restart in self._restarts.get(name, []) if now - restart < HOUR]
        self._restarts[name] = recent
        if len(recent) >= MAX_RESTARTS:
            return ""
        return f"no answer for {seconds:.0f} s, {used:.1f} s of processor time"

    def _restart(self, name: str, reason: str) -> None:
        self._restarts.setdefault(name, []).append(self.clock())
        del self._observations[name]
        _report(f"WARNING {name} hangs and is restarted: {reason}")
        self.supervisor.restart(name)
        if len(self._restarts[name]) == MAX_RESTARTS:
            _report(
                f"ERROR {name} was restarted {MAX_RESTARTS} times in an hour: it is left alone now"
            )


def _cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants have used."""
    total = 0.0
    for process in processes.family(pid):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def _replays_its_log(pid: int) -> bool:
    """Return whether a Postgres server has a process that recovers the database."""
    for process in processes.family(pid):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("postgres: startup"):
            return True
    return False


def _report(message: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {message}", flush=True)


def main() -> int:
    """Look in rounds, until the supervisor ends this process."""
    settings = StackSettings()
    watched = json.loads(os.environ[WATCHED])
    programs = [Program(name, (), name, health=address) for name, address in watched.items()]
    watchdog = Watchdog(settings, Supervisor(settings), programs)
    while True:
        time.sleep(PERIOD)
        try:
            watchdog.look()
        except Exception as error:
            _report(f"ERROR the round failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
