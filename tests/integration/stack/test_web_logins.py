"""Pushgateway, Alertmanager and the exporters ask for a log-in, and what uses them has it.

Before, every user of the machine could forge figures and silence alerts.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import httpx
import pytest

from readmit.settings import ROOT, StackSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job
from stack import configuration, monitoring, programs, readiness, state_folder, web_logins
from tests.support.services import end, free_port, wait_until

INSTALLED = {name for name in web_logins.LOGIN_OF if monitoring.find_installed(name)}
STARTED = (*sorted(INSTALLED), "prometheus")
# What a stranger could do with each: read, forge, silence, or have another address asked.
REQUESTS = {
    "pushgateway": (
        ("GET", "/metrics"),
        ("PUT", "/metrics/job/forged"),
        ("DELETE", "/metrics/job/ingest_batch"),
        ("GET", "/api/v1/status"),
    ),
    "node-exporter": (("GET", "/metrics"),),
    "postgres-exporter": (("GET", "/metrics"), ("GET", "/probe?target=127.0.0.1:5432")),
    "blackbox-exporter": (("GET", "/metrics"), ("GET", "/probe?target=http://127.0.0.1")),
    "alertmanager": (
        ("GET", "/api/v2/alerts"),
        ("POST", "/api/v2/silences"),
        ("POST", "/-/reload"),
    ),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Iterator[StackSettings]:
    """Settings of the programs of monitoring that this machine has, which run."""
    home = tmp_path_factory.mktemp("monitoring")
    ports = {f"{name.replace('-', '_')}_port": free_port() for name in STARTED}
    own = StackSettings(
        readmit_home=home, monitoring_password="m-secret", pushgateway_password="p-secret", **ports
    )
    state_folder.claim(home)
    listed = [program for program in programs.all_programs(own) if program.name in STARTED]
    configuration.write_files(own, listed)
    path = home / "prometheus.yml"
    path.write_text(path.read_text().replace("15s", "1s").replace("10s", "1s"))
    with ExitStack() as running:
        for program in listed:
            log = running.enter_context((home / "log" / f"{program.name}.log").open("wb"))
            process = subprocess.Popen(
                program.command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **program.environment},
            )
            running.callback(end, process)
        for program in listed:
            is_ready = partial(readiness.is_ready, program, own)
            wait_until(is_ready, f"{program.name} is ready", 30)
        yield own


def url(name: str, settings: StackSettings) -> str:
    return f"http://127.0.0.1:{getattr(settings, name.replace('-', '_') + '_port')}"


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_a_stranger_is_refused_everything(name, settings):
    logins = {None, ("readmit", "wrong"), ("admin", "m-secret")}
    if name == "pushgateway":
        logins.add(("readmit", "m-secret"))  # of the others
    for login in logins:
        for method, path in REQUESTS[name]:
            answer = httpx.request(
                method, url(name, settings) + path, auth=login, content=b"x 1\n", trust_env=False
            )
            assert answer.status_code == 401, (login, method, path)


def up(settings: StackSettings) -> dict[str, str]:
    """Return the value of `up` by job."""
    answer = httpx.get(
        f"{url('prometheus', settings)}/api/v1/query", params={"query": "up"}, trust_env=False
    ).json()
    return {row["metric"]["job"]: row["value"][1] for row in answer["data"]["result"]}


def test_prometheus_scrapes_them_all(settings):
    jobs = {"pushgateway", "alertmanager", "node"}
    wait_until(lambda: jobs <= {job for job, value in up(settings).items() if value == "1"}, "", 30)
    answer = httpx.get(f"{url('prometheus', settings)}/api/v1/alertmanagers", trust_env=False)
    assert len(answer.json()["data"]["activeAlertmanagers"]) == 1


def test_a_job_pushes_with_its_password_and_not_without(settings):
    address = url("pushgateway", settings)
    for password, value in (("p-secret", 1.0), (None, 2.0), ("wrong", 3.0)):
        own = settings.model_copy(update={"pushgateway_url": address})
        if password != "p-secret":
            own = StackSettings(pushgateway_url=address, pushgateway_password=password)
        gauges = partial(dict, readmit_batches={"rejected": value})
        pushgateway.report(Job.INGEST, gauges, own)
    answer = httpx.get(f"{address}/metrics", auth=("readmit", "p-secret"), trust_env=False)
    assert 'job="ingest_batch",status="rejected"} 1' in answer.text


def test_prometheus_shows_no_password_and_no_page_of_another_site_reads_it(settings):
    address = url("prometheus", settings)
    shown = httpx.get(f"{address}/api/v1/status/config", trust_env=False).text
    assert "m-secret" not in shown
    assert "p-secret" not in shown
    origin = {"Origin": "https://elsewhere.example"}
    answer = httpx.get(f"{address}/api/v1/query?query=up", headers=origin, trust_env=False)
    assert "access-control-allow-origin" not in answer.headers
    for path in ("/-/quit", "/-/reload", "/api/v1/admin/tsdb/snapshot", "/api/v1/write"):
        assert not httpx.post(address + path, trust_env=False).is_success, path


def test_a_new_password_holds_without_a_restart(settings):
    """As after `make rotate`: the files are written again, and no program is restarted."""
    new = settings.model_copy(update={"pushgateway_password": settings.monitoring_password})
    users = web_logins.folder(settings) / "pushgateway.yml"
    before = users.read_text()
    users.write_text(web_logins.files(new)[users])
    address = url("pushgateway", settings)
    for login, status in ((("readmit", "m-secret"), 200), (("readmit", "p-secret"), 401)):
        answer = httpx.get(f"{address}/metrics", auth=login, trust_env=False)
        assert answer.status_code == status
    users.write_text(before)


def test_their_files_are_private_and_have_no_password_in_the_command(settings):
    for path in web_logins.folder(settings).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    for program in programs.all_programs(settings):
        assert "secret" not in " ".join(program.command)
