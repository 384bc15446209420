"""`make notebook`: JupyterLab under the real supervisor, with own log-ins and on loopback only."""

import socket

import httpx
import psutil
import pytest

from readmit.settings import ROOT, StackSettings, env_file
from stack import configuration, processes, programs
from stack.supervisor import Supervisor
from tests.support import stack


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    """Settings of a stack whose supervisor runs without programs."""
    home = tmp_path_factory.mktemp("notebook")
    with stack.environment(stack.write_env(home)) as settings:
        configuration.write_files(settings, [])
        Supervisor(settings).start()
        yield settings


@pytest.fixture(scope="module")
def settings(supervised):
    """Settings of that stack after `make notebook`, while another program had the port."""
    with socket.create_server(("127.0.0.1", supervised.notebook_port)):
        started = stack.make("notebook")
    assert started.returncode == 0, started.stdout + started.stderr
    line = f"port {supervised.notebook_port} for Notebook (JupyterLab) is taken by"
    assert line in started.stdout
    settings = StackSettings()
    assert f"JupyterLab: {programs.notebook(settings).address}\n" in started.stdout
    assert settings.notebook_token.get_secret_value() not in started.stdout
    return settings


@pytest.fixture(scope="module")
def lab(settings):
    """A client of that JupyterLab."""
    url = f"http://127.0.0.1:{settings.notebook_port}"
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_it_asks_for_the_token_of_the_env_file(lab, settings):
    assert lab.get("/api/contents").status_code == 403
    token = settings.notebook_token.get_secret_value()
    contents = lab.get("/api/contents", headers={"Authorization": f"token {token}"}).json()
    assert [entry["path"] for entry in contents["content"]] == ["explore.ipynb"]
    assert f"READMIT_NOTEBOOK_TOKEN={token}\n" in env_file().read_text()
    assert env_file().stat().st_mode & 0o777 == 0o600


def test_it_listens_on_loopback_only(settings):
    process = psutil.Process(stack.pid(settings, "notebook"))
    ports = []
    for connection in process.net_connections():
        if connection.status == "LISTEN":
            assert connection.laddr.ip == "127.0.0.1"
            ports.append(connection.laddr.port)
    assert settings.notebook_port in ports


def test_its_environment_has_no_log_in_of_others(settings):
    environment = processes.environment(psutil.Process(stack.pid(settings, "notebook")))
    assert environment["READMIT_MLFLOW_TRACKING_USERNAME"] == "notebook"
    passwords = {name for name in environment if name.endswith(("_PASSWORD", "_SECRET_ACCESS_KEY"))}
    assert passwords == {
        "READMIT_MLFLOW_TRACKING_PASSWORD",
        "READMIT_S3_TRAINER_SECRET_ACCESS_KEY",
        "READMIT_TRAINER_PASSWORD",
    }


def test_a_second_call_leaves_it_and_the_copy_of_a_person_as_they_are(settings):
    copy = settings.readmit_home / "notebooks" / "explore.ipynb"
    assert copy.read_bytes() == (ROOT / "notebooks" / "explore.ipynb").read_bytes()
    copy.write_text("changed by a person")
    before = stack.pid(settings, "notebook")
    assert stack.make("notebook").returncode == 0
    assert stack.pid(settings, "notebook") == before
    assert copy.read_text() == "changed by a person"


def test_down_stops_it_and_the_next_start_has_none(settings):
    assert "notebook" in {program.name for program in programs.all_programs(settings)}
    stopped = stack.run("stack.down")
    assert stopped.returncode == 0, stopped.stdout
    assert stack.leftovers(settings) == []
    assert "notebook" not in {program.name for program in programs.all_programs(settings)}
    refused = stack.make("notebook")
    assert refused.returncode != 0
    assert "error: the stack does not run: start it by `make up`\n" in refused.stderr
