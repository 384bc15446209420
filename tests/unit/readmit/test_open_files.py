"""A process may open as many files as the system allows, and says so when that is not enough."""

import os
import resource
import subprocess
import sys
from pathlib import Path

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


def reports_the_limit(arguments: str, temporary: Path) -> bool:
    """Run Python where the hard limit is 1,000 files, and end it when it has said so.

    A pytest closes the folder that it shares with this one to other users: it gets another root.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'locust'}",
        "TMPDIR": str(temporary),
        "PYTEST_DEBUG_TEMPROOT": str(temporary),
    }
    with subprocess.Popen(
        ["bash", "-c", f"ulimit -n 1000; exec {sys.executable} {arguments}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.rstrip("\n").removeprefix("error: ") == TOO_LOW:
                process.kill()
                return True
    return False


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
def test_a_low_hard_limit_is_reported_in_one_line(arguments, tmp_path):
    assert reports_the_limit(arguments, tmp_path)


def test_make_test_stops_at_a_limit_that_is_too_low(monkeypatch):
    monkeypatch.setattr(open_files, "NEEDED", 10**12)
    assert test_tools.main() == 1
