"""What only root does: run Postgres as another user, and install programs for the tests."""

import pwd

import psutil
import pytest

from stack import programs, test_tools, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import stack

pytestmark = pytest.mark.root

APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *install*) touch {folder}/chromium && chmod +x {folder}/chromium ;; esac
"""


@pytest.fixture
def settings(tmp_path):
    """Settings of a stack in a folder that no other user may enter."""
    tmp_path.chmod(0o700)
    with stack.environment(stack.write_env(tmp_path)) as settings:
        yield settings


def start_postgres(settings) -> psutil.Process:
    """Do what `make up` does, as far as Postgres."""
    listed = programs.all_programs(settings)
    supervisor = Supervisor(settings)
    up._start_supervisor(settings, listed, supervisor)
    postgres = [program for program in listed if program.name == "postgres"]
    up._start(postgres, settings, supervisor, Progress(), "storage")
    return psutil.Process(stack.pid(settings, "postgres"))


def test_postgres_runs_as_an_ordinary_user_with_data_that_are_his(settings):
    postgres = start_postgres(settings)
    server = programs.server(settings)
    user = pwd.getpwuid(server.data.stat().st_uid)
    assert user.pw_name in ("postgres", "nobody")
    for process in (postgres, *postgres.children()):
        assert set(process.uids()) == {user.pw_uid}
    assert Supervisor(settings).process().uids().real == 0
    assert not server.data.is_relative_to(settings.readmit_home)  # he may not enter it


def test_clean_ends_and_removes_all_of_it_after_kill_9_of_the_supervisor(settings):
    start_postgres(settings)
    Supervisor(settings).process().kill()
    data = programs.server(settings).data
    assert stack.run("stack.clean").returncode == 0
    assert stack.leftovers(settings) == []
    assert not data.exists()
    assert not settings.readmit_home.exists()


def test_a_missing_setpriv_says_how_to_get_it(settings, tmp_path):
    process = stack.run("stack.up", PATH=str(tmp_path))
    assert process.returncode == 1
    assert (
        "error: setpriv is missing (Postgres must not run as root): apt-get install"
        in process.stdout
    )
    assert stack.leftovers(settings) == []


def test_missing_tools_of_the_tests_are_installed(monkeypatch, tmp_path):
    apt, log = tmp_path / "apt-get", tmp_path / "log"
    apt.write_text(APT.format(log=log, folder=tmp_path))
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(test_tools, "NEEDED", {"chromium": (str(tmp_path / "chromium"),)})
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert test_tools.ensure() == ["chromium"]
    update, install = log.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends chromium")
    assert test_tools.ensure() == []
