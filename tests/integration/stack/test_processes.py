"""The supervisor restarts what dies, a second start changes nothing, and `make down` ends all."""

import os
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg2
import pytest

from readmit import storage
from readmit.open_files import NEEDED
from readmit.ops.bootstrap import bootstrap
from stack import configuration, processes, programs, readiness, sessions, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from stack.watchdog import Watchdog
from tests.support import stack
from tests.support.limits import soft_limit
from tests.support.raw import query
from tests.support.services import is_free, wait_until

NAMES = ("postgres", "s3", "mlflow")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("stack")
    home.chmod(0o711)
    with stack.environment(stack.write_env(home)) as settings:
        with soft_limit(1_024):  # as an ordinary user's shell has it
            start(settings)
        bootstrap(settings)
        storage.ensure_buckets(settings)
        yield settings


def start(settings) -> list[programs.Program]:
    """Start storage and MLflow as `make up` does."""
    listed = programs.all_programs(settings)
    supervisor = Supervisor(settings)
    up.start_supervisor(settings, listed, supervisor)
    postgres, s3, mlflow = [programs.find(name, settings) for name in NAMES]
    up._start([postgres, s3], settings, supervisor, Progress(), "core")
    bootstrap(settings)
    up._start([mlflow], settings, supervisor, Progress(), "core")
    return [postgres, s3, mlflow]


def pids(settings) -> dict[str, int]:
    return {name: stack.pid(settings, name) for name in NAMES} | {
        "supervisor": Supervisor(settings).pid()
    }


def test_a_first_start_shows_no_error(running):
    assert {name: readiness.last_error(name, running) for name in NAMES} == dict.fromkeys(NAMES, "")


def open_files_of(pid: int) -> list[int]:
    """Return the soft and the hard limit of a process, which may be another user's.

    psutil.Process.rlimit needs CAP_SYS_RESOURCE for that, which root in a container lacks.
    """
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return [int(word) for word in line.split()[3:5]]
    raise AssertionError(f"no limit of open files for process {pid}")


def test_every_program_may_open_as_many_files_as_the_system_allows(running):
    for process in sessions.processes_of(running.readmit_home):
        assert open_files_of(process.pid)[0] >= NEEDED, process
    for name in NAMES:
        soft, hard = open_files_of(stack.pid(running, name))
        assert soft >= hard - 1, name  # Go takes one less


def test_a_second_start_changes_nothing(running):
    env_file = os.environ["READMIT_ENV_FILE"]
    with open(env_file) as file:
        before = file.read()
    pids_before = pids(running)
    assert configuration.write_env() == []
    start(running)
    with open(env_file) as file:
        assert file.read() == before
    assert pids(running) == pids_before
    assert os.stat(env_file).st_mode & 0o777 == 0o600


def test_no_command_line_or_configuration_holds_a_secret(running):
    secret = running.postgres_password.get_secret_value()
    words = []
    for process in sessions.processes_of(running.readmit_home):
        words += process.cmdline()
    assert words
    listing = " ".join(words)
    for name in ("postgres_password", "mlflow_password", "aws_secret_access_key"):
        assert getattr(running, name).get_secret_value() not in listing
    assert secret not in (running.readmit_home / "supervisord.conf").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_component_comes_back(running, name):
    killed = stack.pid(running, name)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: stack.pid(running, name) not in (0, killed), f"{name} was not started again")
    program = programs.find(name, running)
    wait_until(partial(readiness.is_ready, program, running), f"{name} is not ready again")


def test_a_component_that_hangs_is_restarted(running, monkeypatch):
    """The supervisor sees a process that runs; the watchdog asks it."""
    monkeypatch.setattr(readiness, "SECONDS_TO_ANSWER", 1)
    watched = [programs.find(name, running) for name in NAMES]
    watchdog = Watchdog(running, Supervisor(running), watched, patience=3, storage_patience=3)
    before = pids(running)
    assert watchdog.look() is None
    os.kill(before["s3"], signal.SIGSTOP)
    wait_until(lambda: watchdog.look() == "s3", "the store that hangs was not restarted")
    assert pids(running) == before | {"s3": stack.pid(running, "s3")}
    assert stack.pid(running, "s3") not in (0, before["s3"])
    program = programs.find("s3", running)
    wait_until(partial(readiness.is_ready, program, running), "the store is not ready again")


def test_the_watchdog_is_a_program_of_the_stack(running):
    supervisor = Supervisor(running)
    supervisor.ensure("watchdog")
    wait_until(lambda: "watchdog" in supervisor.running(), "the watchdog does not run")
    assert readiness.last_error("watchdog", running) == ""


def test_data_outlives_a_killed_postgres(running):
    query(running, running.raw_database, "create table if not exists kept (n int)")
    query(running, running.raw_database, "insert into kept values (1)")
    was = stack.pid(running, "postgres")
    os.kill(was, signal.SIGKILL)
    server = programs.server(running)

    def is_started_again() -> bool:
        return stack.pid(running, "postgres") not in (0, was) and server.is_ready()

    wait_until(is_started_again, "Postgres is away")
    assert query(running, running.raw_database, "select n from kept") == [(1,)]


def test_a_query_that_outlives_a_killed_postgres_is_found(running):
    """It computes and does not check; it has its own session and an overwritten environment."""
    count = "select count(*) from generate_series(1, 1e12)"
    client = threading.Thread(target=attempt, args=(running, count))
    client.start()
    states = "select pid from pg_stat_activity where state = 'active' and query = %s"
    backends = partial(query, running, running.raw_database, states, count)
    [(backend,)] = wait_until(backends, "the query does not run")
    server = psutil.Process(stack.pid(running, "postgres"))
    server.kill()
    wait_until(lambda: not processes.is_running(server), "the server is not gone")
    assert backend in stack.leftovers(running)
    processes.end([psutil.Process(backend)])
    client.join(30)
    wait_until(programs.server(running).is_ready, "Postgres is away")


def attempt(settings, sql: str) -> None:
    """Run a query whose server is going to be killed."""
    with suppress(psycopg2.OperationalError):
        query(settings, settings.raw_database, sql)


def test_down_leaves_no_process_and_no_port(running):
    assert stack.leftovers(running)
    process = stack.run("stack.down")
    assert (process.returncode, process.stdout) == (0, "everything is stopped\n")
    assert stack.leftovers(running) == []
    for program in programs.all_programs(running):
        for ports in program.ports.values():
            assert all(is_free(port) for port in ports), program.name
    assert stack.run("stack.down").returncode == 0  # and again
