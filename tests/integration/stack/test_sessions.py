"""The processes of a stack are found, whichever were killed before, and no others."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from readmit.settings import ROOT
from stack import processes, sessions
from stack.programs import HOME_MARK, PROGRAM_MARK
from tests.support.services import wait_until

PROGRAM = "airflow-scheduler"
# As in Airflow 3.3, the program forks a task supervisor that closes its environment, and the task
# supervisor forks the task into a process group of its own.
TREE = """
import ctypes, os, sys, time
from pathlib import Path
from stack import sessions
home, program = Path(sys.argv[1]), sys.argv[2]
sessions.record(home, program)
if os.fork() == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    if os.fork() == 0:
        os.setpgid(0, 0)
    (home / f"child-{os.getpid()}").touch()
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path):
    """The home of a stack."""
    return tmp_path


@pytest.fixture
def start(home):
    """Return a function that starts a program with two descendants and returns the three processes.

    They end at teardown.
    """
    families = []
    popens = []

    def run(program=PROGRAM, is_marked=True):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        if is_marked:
            environment |= marks_of(home, program)
        process = subprocess.Popen(
            [sys.executable, "-c", TREE, str(home), program],
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
        popens.append(process)
        n_children = 2 * len(popens)
        wait_until(lambda: len(list(home.glob("child-*"))) == n_children, "the program starts")
        families.append(processes.family(process.pid))
        return families[-1]

    yield run
    for family in families:
        processes.end(family)
    for process in popens:
        process.wait()


def marks_of(home, program=PROGRAM):
    return {HOME_MARK: str(home), PROGRAM_MARK: program}


def kill(process):
    process.kill()
    process.wait(10)


def pids_of(members):
    return {process.pid for process in members}


def pids(home, program=""):
    return pids_of(sessions.processes_of(home, program))


def test_children_of_a_killed_program_are_found_and_ended(home, start):
    program, *children = start()
    assert pids(home) == pids_of([program, *children])
    kill(program)
    assert pids(home) == pids(home, PROGRAM) == pids_of(children)
    sessions.end(home, PROGRAM)
    assert pids(home) == set()
    assert not any(map(processes.is_running, children))


def test_their_environment_is_closed_to_an_ordinary_user(start):
    _, *children = start()
    are_closed = [processes.environment(process) is None for process in children]
    assert all(are_closed) or os.geteuid() == 0


def test_processes_are_found_by_their_program(home, start):
    scheduler = start()
    api = start("api")
    assert pids(home, PROGRAM) == pids_of(scheduler)
    assert pids(home, "api") == pids_of(api)
    assert pids(home) == pids(home, PROGRAM) | pids(home, "api")


@contextmanager
def changed(home, **values):
    """Change the stored session of the program."""
    [session] = sessions.recorded(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "recorded", lambda *_: [replace(session, **values)])
        yield


def test_a_session_that_got_the_number_of_an_ended_one_is_left_alone(home, start):
    program = start(is_marked=False)
    [session] = sessions.recorded(home)
    assert pids(home) == pids_of(program)
    with changed(home, started=session.started - 1):
        assert pids(home) == set()
    with changed(home, boot_id="another"):
        assert pids(home) == set()


def test_without_its_leader_a_readable_process_must_carry_the_mark(home, start):
    program, *children = start(is_marked=False)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        kill(program)
        is_closed = processes.environment(children[0]) is None
        if is_closed:
            assert pids(home) == pids_of(children)
        else:
            assert pids(home) == set()
        [session] = sessions.recorded(home)
        with pytest.MonkeyPatch.context() as patch:
            # This test's session lost its leader.
            patch.setattr(sessions, "start_ticks", lambda _: None)
            members = replace(session, leader=os.getsid(0)).members(marks_of(home))
        assert stranger.pid not in pids_of(members)
    finally:
        stranger.kill()
        stranger.wait()


def test_the_calling_process_and_its_parents_are_left_alone(home, monkeypatch):
    parent = psutil.Process().parent()
    monkeypatch.setattr(processes, "marked", lambda _: [psutil.Process(), parent])
    assert not pids(home) & {os.getpid(), parent.pid}


def test_a_broken_record_is_skipped(home, start):
    program, *_ = start()
    (home / "sessions" / "api").write_text("")
    assert program.pid in pids(home)
