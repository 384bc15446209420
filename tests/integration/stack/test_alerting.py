"""A real Alertmanager, configured as in the stack, delivers to a web hook and to a mail server."""

import email
import http.server
import json
import re
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml

from readmit.settings import ROOT, StackSettings
from stack import alerting, configuration, monitoring, preflight, programs
from stack.machine import find_program
from tests.support.services import end, free_port, is_free, wait_until

ALERTMANAGER = monitoring.find_installed("alertmanager")
PROMETHEUS = monitoring.find_installed("prometheus")
AMTOOL = find_program("amtool")
RULES = ROOT / "k8s" / "components" / "monitoring" / "rules"
needs_alertmanager = pytest.mark.skipif(ALERTMANAGER is None, reason="alertmanager is missing")


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict]]]:
    """Yield the address of a web hook, and the list of the messages that it got."""
    messages: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            messages.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret-of-the-hook", messages
        server.shutdown()


@contextmanager
def mail_server() -> Iterator[tuple[str, list[str]]]:
    """Yield host and port of a mail server without TLS, and the list of the mails that it got."""
    mails: list[str] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test ESMTP\r\n")
            for line in self.rfile:
                command = line[:4].upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    mails.append(b"".join(lines).decode())
                if command == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                else:
                    self.wfile.write(b"250 OK\r\n")

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", mails
        server.shutdown()


def quick(text: str) -> str:
    """Return a configuration whose waiting times are a second."""
    return re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", text)


@contextmanager
def running(settings: StackSettings, *names: str) -> Iterator[None]:
    """Run programs as the supervisor starts them, with short waiting times."""
    home = settings.readmit_home
    home.mkdir(exist_ok=True)
    listed = [program for program in programs.all_programs(settings) if program.name in names]
    (home / "alertmanager.yml").write_text(quick(alerting.configuration(settings)))
    text = configuration.prometheus_configuration(settings, listed)
    text = text.replace("15s", "1s").replace("10s", "1s").replace(str(RULES), str(home / "rules"))
    (home / "prometheus.yml").write_text(text)
    (home / "rules").mkdir()
    for path in RULES.glob("*.yml"):
        # After how long each alert fires is held by tests/contract/k8s/test_alerts.py. Before it
        # knows Alertmanager, after five seconds, Prometheus sends nothing, and a minute later again.
        quick_rules = path.read_text().replace("for: 1m\n", "for: 10s\n")
        (home / "rules" / path.name).write_text(quick_rules)
    with ExitStack() as stack:
        for program in listed:
            log = stack.enter_context((home / f"{program.name}.log").open("wb"))
            process = subprocess.Popen(program.command, cwd=ROOT, stdout=log, stderr=log)
            stack.callback(end, process)
        for program in listed:
            wait_until(partial(answers, program.health), f"{program.name} is ready", 30)
        yield


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def fire(settings: StackSettings, severity: str, name: str = "Trial") -> None:
    """Send an alert as docs/alerts.md shows it."""
    alert = {
        "labels": {"alertname": name, "severity": severity},
        "annotations": {"summary": "a trial", "runbook_url": "docs/runbook.md#trial"},
    }
    url = f"http://127.0.0.1:{settings.alertmanager_port}/api/v2/alerts"
    httpx.post(url, json=[alert], trust_env=False).raise_for_status()


def new_settings(tmp_path: Path, **values: object) -> StackSettings:
    ports = {"alertmanager_port": free_port(), "prometheus_port": free_port()}
    return StackSettings(**ports, readmit_home=tmp_path / "home", **values)


@needs_alertmanager
def test_a_web_hook_gets_every_alert_by_severity(tmp_path):
    with webhook() as (url, messages):
        settings = new_settings(tmp_path, alert_webhook_url=url)
        with running(settings, "alertmanager"):
            fire(settings, "page")
            fire(settings, "ticket")
            wait_until(lambda: len(messages) >= 2, "both messages arrive", 30)
    by_severity = {message["commonLabels"]["severity"]: message for message in messages}
    assert set(by_severity) == {"page", "ticket"}
    assert by_severity["page"]["status"] == "firing"
    assert by_severity["page"]["commonAnnotations"]["summary"] == "a trial"


@needs_alertmanager
def test_a_mail_server_gets_the_alert(tmp_path):
    with mail_server() as (address, mails):
        mail = {"alert_email_to": "ward@example.org", "alert_smtp_address": address}
        settings = new_settings(tmp_path, alert_smtp_tls=False, **mail)
        with running(settings, "alertmanager"):
            fire(settings, "page")
            wait_until(lambda: mails, "the mail arrives", 30)
    message = email.message_from_string(mails[0])
    assert message["To"] == "ward@example.org"
    assert message["From"] == "readmit@localhost"
    assert message["Subject"] == "[readmit page] firing: Trial (1)"


@needs_alertmanager
def test_no_mail_goes_in_clear_to_a_server_without_tls(tmp_path):
    with mail_server() as (address, mails):
        mail = {"alert_email_to": "ward@example.org", "alert_smtp_address": address}
        settings = new_settings(tmp_path, **mail)
        with running(settings, "alertmanager"):
            fire(settings, "page")
            log = settings.readmit_home / "alertmanager.log"
            wait_until(lambda: "STARTTLS" in log.read_text(), "it is refused", 30)
    assert mails == []


@pytest.mark.skipif(not (ALERTMANAGER and PROMETHEUS), reason="prometheus is missing")
def test_what_prometheus_finds_reaches_the_receiver(tmp_path):
    """Nothing serves the API here: ApiDown fires and holds back what follows from it."""
    with webhook() as (url, messages):
        settings = new_settings(tmp_path, alert_webhook_url=url, api_port=free_port())
        with running(settings, "alertmanager", "prometheus"):
            wait_until(lambda: "ApiDown" in names(messages), "ApiDown arrives", 150)
            [message] = [message for message in messages if "ApiDown" in names([message])]
            assert message["commonLabels"]["severity"] == "page"
            assert message["commonAnnotations"]["runbook_url"].endswith("#apidown")
            api = f"http://127.0.0.1:{settings.prometheus_port}/api/v1/alertmanagers"
            active = httpx.get(api, trust_env=False).json()["data"]["activeAlertmanagers"]
            port = settings.alertmanager_port
            assert [row["url"] for row in active] == [f"http://127.0.0.1:{port}/api/v2/alerts"]


def names(messages: list[dict]) -> set[str]:
    """Return the names of the alerts in some messages."""
    result = set()
    for message in messages:
        for alert in message["alerts"]:
            result.add(alert["labels"]["alertname"])
    return result


@needs_alertmanager
def test_it_listens_on_loopback_only_and_has_no_cluster_port(tmp_path):
    cluster_was_free = is_free(9094)
    settings = new_settings(tmp_path)
    with running(settings, "alertmanager"):
        # The connections of its process: one listening port, on loopback.
        port = f":{settings.alertmanager_port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        lines += Path("/proc/net/tcp6").read_text().splitlines()[1:]
        addresses = []
        for line in lines:
            _, address, _, state, *_ = line.split()
            if state == "0A" and address.endswith(port):
                addresses.append(address)
        assert addresses == [f"0100007F{port}"]
        assert is_free(9094) == cluster_was_free


def test_without_a_receiver_nobody_gets_a_message():
    document = yaml.safe_load(alerting.configuration(StackSettings()))
    assert document["receivers"] == [{"name": "readmit"}]
    assert not alerting.has_receiver(StackSettings())


@pytest.mark.skipif(AMTOOL is None, reason="amtool is missing")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"alert_webhook_url": "https://hooks.example.org/x?y=1&z='\"#{{"},
        {
            "alert_email_to": "a@example.org, b@example.org",
            "alert_smtp_address": "mail.example.org:465",
            "alert_smtp_user": "robot",
            "alert_smtp_password": "p'\"{{ .X }}\\#: -",
        },
    ],
)
def test_alertmanager_accepts_what_is_written(tmp_path, values):
    settings = StackSettings(**values)
    path = tmp_path / "alertmanager.yml"
    path.write_text(alerting.configuration(settings))
    checked = subprocess.run(
        [AMTOOL, "check-config", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    document = yaml.safe_load(path.read_text())
    for key in ("webhook_configs", "email_configs"):
        for receiver in document["receivers"][0].get(key, []):
            assert receiver.get("auth_password", values.get("alert_smtp_password")) == values.get(
                "alert_smtp_password"
            )
            assert (
                receiver.get("require_tls", False) is False
            )  # port 465 is TLS from the first byte
    routes = {severity: route(path, severity) for severity in ("page", "ticket")}
    assert routes == {"page": "readmit", "ticket": "readmit"}


def route(path: Path, severity: str) -> str:
    command = [AMTOOL, "config", "routes", "test", f"--config.file={path}", f"severity={severity}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_mail_address_without_a_server_is_refused_before_the_start(tmp_path):
    settings = StackSettings(readmit_home=tmp_path, alert_email_to="a@example.org")
    problems = preflight.problems(settings, [], {"s3"})
    assert "set READMIT_ALERT_SMTP_ADDRESS=host:port" in "\n".join(problems)


def test_a_changed_receiver_restarts_alertmanager_and_nothing_else(monkeypatch):
    monkeypatch.setattr(monitoring, "find_installed", lambda name: f"/usr/bin/{name}")
    changed = StackSettings(alert_webhook_url="https://hooks.example.org/1")
    before = programs.all_programs(StackSettings())
    after = programs.all_programs(changed)
    restarted = []
    for program, new_program in zip(before, after, strict=True):
        assert program.name == new_program.name
        if program.fingerprint != new_program.fingerprint:
            restarted.append(program.name)
    assert restarted == ["alertmanager"]
