"""A process may open as many files as the system allows, and says so when that is not enough."""

import os
import resource
import subprocess
import sys

import pytest

from readmit import open_files
from readmit.settings import ROOT
from stack import test_tools
from tests.support.limits import soft_limit

TOO_LOW = (
    "a process may have 1000 files and connections open here, 4096 are needed: "
    "raise the hard limit (`ulimit -Hn`; nofile in /etc/security/limits.conf)"
)
PRINT = "-c 'from readmit import open_files; print(open_files.raise_limit())'"
LOCUST = (
    "-c 'import locustfile; from locust import env, events;"
    " events.init.fire(environment=env.Environment(), runner=None, web_ui=None)'"
)


def soft_and_hard() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def with_1000_files(arguments: str) -> str:
    """Run Python where the hard limit is 1,000 files, and return its output."""
    completed = subprocess.run(
        ["bash", "-c", f"ulimit -n 1000; exec {sys.executable} {arguments}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'locust'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout + completed.stderr


def test_the_soft_limit_becomes_the_hard_one():
    with soft_limit(1_024):
        assert open_files.raise_limit() == ""
        soft, hard = soft_and_hard()
        assert soft == hard >= open_files.NEEDED


def test_this_test_run_has_raised_its_own():
    soft, hard = soft_and_hard()
    assert soft == hard


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(PRINT, id="the function"),
        pytest.param("-m bench --only nothing", id="bench"),
        pytest.param("locust/capacity.py --own --workers no", id="capacity"),
        pytest.param(LOCUST, id="locust"),
        pytest.param("-m pytest --collect-only tests/unit/test_readability.py", id="pytest"),
        pytest.param("-m stack.test_tools", id="make test"),
    ],
)
def test_a_low_hard_limit_is_reported_in_one_line(arguments):
    lines = with_1000_files(arguments).splitlines()
    assert TOO_LOW in lines or f"error: {TOO_LOW}" in lines


def test_make_test_stops_at_a_limit_that_is_too_low(monkeypatch):
    monkeypatch.setattr(open_files, "NEEDED", 10**12)
    assert test_tools.main() == 1
