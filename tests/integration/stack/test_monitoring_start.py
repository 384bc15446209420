"""A program that was fetched while the stack starts runs under the real supervisor."""

import hashlib
import sys
from functools import partial

import httpx
import pytest

from readmit.settings import StackSettings
from stack import configuration, machine, monitoring, programs, releases, sessions, up
from stack.supervisor import Supervisor
from tests.support import stack
from tests.support.release_server import PLATFORM, archive, server
from tests.support.services import wait_until

# Answers the exporter's health check at the port of its command line.
EXPORTER = f"""#!{sys.executable}
import http.server, sys
if "--version" in sys.argv:
    sys.exit()
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
[listen] = [word for word in sys.argv if word.startswith("--web.listen-address=")]
http.server.HTTPServer(("127.0.0.1", int(listen.rpartition(":")[2])), Healthy).serve_forever()
"""
LIST = """
[blackbox-exporter]
title = "Blackbox exporter"
version = "{version}"
program = "blackbox_exporter"
url = "{url}/blackbox_exporter-{{version}}.{{platform}}.tar.gz"
sources = []

[blackbox-exporter.sha256]
{platform} = "{digest}"
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a stack on a machine that has no program of monitoring."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(machine, "SYSTEM_PATH", str(tmp_path / "empty"))
    with stack.environment(stack.write_env(tmp_path)) as settings:
        yield settings


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_fetched_exporter_is_started_and_prometheus_asks_it(settings, tmp_path, monkeypatch):
    version = releases.read()["blackbox-exporter"].version
    content = archive((f"blackbox_exporter-{version}/blackbox_exporter", EXPORTER.encode()))
    digest = hashlib.sha256(content).hexdigest()
    # Only what is fetched starts: Postgres, Airflow and the rest are not this test's.
    every_program = programs.all_programs

    def optional_programs(current: StackSettings) -> list[programs.Program]:
        return [program for program in every_program(current) if program.name in programs.OPTIONAL]

    monkeypatch.setattr(up.programs, "all_programs", optional_programs)
    supervisor = Supervisor(settings)
    with server(content=content) as (url, _):
        path = tmp_path / "releases.toml"
        values = {"version": version, "url": url, "platform": PLATFORM, "digest": digest}
        path.write_text(LIST.format(**values))
        read = releases.read
        monkeypatch.setattr(releases, "read", partial(read, path))
        configuration.write_files(settings, [])
        supervisor.start()
        direct = settings.model_copy(update={"monitoring_mirror": None})
        download = up._start_download(direct, supervisor, [])
        download.stack_runs()
        download.wait(30, print)
        assert (download.errors, download.report()) == ([], "")
    [program] = monitoring_programs(direct)
    wait_until(lambda: answers(program.health), "the exporter answers", 30)
    assert "blackbox-exporter" in supervisor.running()
    text = (settings.readmit_home / "prometheus.yml").read_text()
    assert "job_name: probe" in text
    assert f"127.0.0.1:{settings.blackbox_exporter_port}" in text
    assert sessions.processes_of(settings.readmit_home)


def monitoring_programs(settings: StackSettings) -> list[programs.Program]:
    return programs.observability(settings, monitoring.find(settings))
