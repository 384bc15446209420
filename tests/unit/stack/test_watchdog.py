"""The watchdog restarts programs that hang, and none that is busy, starting or waiting for another."""

from typing import Any

import pytest

from stack import readiness, watchdog
from stack.programs import Program
from stack.watchdog import BUSY_PATIENCE, GRACE, HOUR, MAX_RESTARTS, PATIENCE, STORAGE_PATIENCE

NAMES = ("postgres", "s3", "airflow-api-server", "airflow-scheduler", "api")
PROGRAMS = [Program(name, (), name, health="http://127.0.0.1:1/") for name in NAMES]
ROUND = 10.0


class Machine:
    """A supervisor, a clock and programs that answer or do not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.silent: set[str] = set()
        self.restarted: list[str] = []
        self.pids = dict(zip(NAMES, range(1, 10), strict=False))
        self.started = dict.fromkeys(NAMES, 0.0)
        self.state = dict.fromkeys(NAMES, "RUNNING")
        self.cpu: dict[int, float] = {}
        self.recovers = False
        monkeypatch.setattr(watchdog, "_cpu_seconds", lambda pid: self.cpu.get(pid, 0.0))
        monkeypatch.setattr(watchdog, "_replays_its_log", lambda _: self.recovers)
        self.watchdog = watchdog.Watchdog(
            settings=None,  # type: ignore[arg-type] # no program is asked
            supervisor=self,  # type: ignore[arg-type]
            programs=PROGRAMS,
            is_alive=lambda program, _: program.name not in self.silent,
            clock=lambda: self.now,
        )

    def states(self) -> dict[str, dict[str, Any]]:
        states = {}
        for name in NAMES:
            states[name] = {
                "statename": self.state[name],
                "pid": self.pids[name],
                "start": self.started[name],
                "now": self.now,
            }
        return states

    def restart(self, name: str) -> None:
        self.restarted.append(name)
        self.pids[name] += 100
        self.started[name] = self.now

    def run(self, seconds: float) -> list[str]:
        """Let time pass in rounds; return what was restarted."""
        self.restarted.clear()
        end = self.now + seconds
        while self.now < end:
            self.now += ROUND
            self.watchdog.look()
        return list(self.restarted)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(monkeypatch)
    assert machine.run(60) == []
    return machine


def test_a_program_that_answers_is_left_alone(machine: Machine) -> None:
    assert machine.run(HOUR) == []


def test_a_program_that_hangs_is_restarted_once_its_patience_is_over(machine: Machine) -> None:
    machine.silent = {"api"}
    assert machine.run(PATIENCE) == []
    assert machine.run(2 * ROUND) == ["api"]


def test_a_program_that_answers_in_between_is_not_restarted(machine: Machine) -> None:
    for _ in range(20):
        machine.silent = {"api"}
        assert machine.run(PATIENCE - ROUND) == []
        machine.silent = set()
        assert machine.run(ROUND) == []


def test_a_busy_program_has_more_patience(machine: Machine) -> None:
    machine.silent = {"api"}
    for _ in range(int(BUSY_PATIENCE / ROUND)):
        machine.cpu[machine.pids["api"]] = machine.now
        assert machine.run(ROUND) == []
    assert machine.run(2 * ROUND) == ["api"]


def test_a_program_that_starts_has_time_to_get_ready(machine: Machine) -> None:
    machine.restart("api")
    machine.silent = {"api"}
    assert machine.run(GRACE - ROUND) == []
    assert machine.run(2 * ROUND) == ["api"]


@pytest.mark.parametrize("state", ["STOPPED", "STARTING", "STOPPING", "BACKOFF", "FATAL"])
def test_only_running_programs_are_checked(machine: Machine, state: str) -> None:
    machine.silent = {"api"}
    machine.state["api"] = state
    assert machine.run(HOUR) == []


def test_a_program_that_waits_for_postgres_is_not_restarted(machine: Machine) -> None:
    machine.recovers = True
    machine.silent = {"postgres", "airflow-api-server", "airflow-scheduler"}
    assert machine.run(HOUR) == []


def test_a_postgres_that_does_not_answer_at_all_is_restarted(machine: Machine) -> None:
    machine.silent = {"postgres"}
    assert machine.run(STORAGE_PATIENCE) == []
    assert machine.run(2 * ROUND) == ["postgres"]


def test_one_restart_at_a_time(machine: Machine) -> None:
    machine.silent = {"api", "s3"}
    machine.now += STORAGE_PATIENCE
    machine.watchdog.look()
    machine.now += STORAGE_PATIENCE
    machine.watchdog.look()
    assert machine.restarted == ["s3"]


def test_no_storm_of_restarts(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that hangs again and again is restarted three times in an hour, then reported."""
    restarts: list[str] = []
    for _ in range(10):
        machine.silent = set()
        restarts += machine.run(ROUND)
        machine.silent = {"api"}
        restarts += machine.run(PATIENCE + 2 * ROUND)
    assert restarts == ["api"] * MAX_RESTARTS
    assert readiness.ERROR.search(capsys.readouterr().out)
