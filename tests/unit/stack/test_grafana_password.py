"""Grafana's admin gets a new password, also when a rotation was killed or Grafana was away.

A server with Grafana's two routes stands in for it: no test downloads Grafana.
"""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from readmit.settings import StackSettings
from stack import grafana_password


class StandIn(http.server.ThreadingHTTPServer):
    """Has the routes /api/user and /api/user/password of Grafana, and the password of its admin."""

    password = "first"


class Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _has_entered(self) -> bool:
        login = base64.b64encode(f"admin:{self.server.password}".encode()).decode()
        return (
            self.path.startswith("/api/user") and self.headers["Authorization"] == f"Basic {login}"
        )

    def do_GET(self) -> None:
        self._answer(200 if self._has_entered() else 401)

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._has_entered() or body["oldPassword"] != self.server.password:
            self._answer(401)
            return
        self.server.password = body["newPassword"]
        self._answer(200)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def grafana() -> Iterator[StandIn]:
    with StandIn(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def settings(home: Path, port: int, password: str) -> StackSettings:
    return StackSettings(readmit_home=home, grafana_port=port, grafana_admin_password=password)


def test_grafana_takes_the_new_password(grafana, tmp_path):
    grafana_password.keep(settings(tmp_path, grafana.server_port, "first"))
    assert (tmp_path / "grafana-password-before").stat().st_mode & 0o777 == 0o600
    assert grafana_password.renew(settings(tmp_path, grafana.server_port, "second"))
    assert grafana.password == "second"
    assert not list(tmp_path.iterdir())


def test_it_goes_on_after_grafana_was_away_and_after_a_second_rotation(grafana, tmp_path):
    """Before, a rotation that was killed left Grafana with a password that nobody had."""
    grafana_password.keep(settings(tmp_path, 1024, "first"))
    assert not grafana_password.renew(settings(tmp_path, 1024, "second"))
    grafana_password.keep(settings(tmp_path, 1024, "second"))  # which Grafana never had
    assert grafana_password.renew(settings(tmp_path, grafana.server_port, "third"))
    assert grafana.password == "third"


def test_a_password_that_grafana_has_already_is_left(grafana, tmp_path):
    """Killed after Grafana took it, or Grafana was started for the first time since."""
    grafana_password.keep(settings(tmp_path, grafana.server_port, "earlier"))
    assert grafana_password.renew(settings(tmp_path, grafana.server_port, "first"))
    assert not list(tmp_path.iterdir())


def test_a_password_that_somebody_changed_by_hand_stays(grafana, tmp_path):
    grafana.password = "by hand"
    grafana_password.keep(settings(tmp_path, grafana.server_port, "first"))
    assert not grafana_password.renew(settings(tmp_path, grafana.server_port, "second"))
    assert grafana.password == "by hand"
    assert (tmp_path / "grafana-password-before").read_text() == "first"


def test_without_a_rotation_grafana_is_not_asked(tmp_path):
    assert grafana_password.renew(settings(tmp_path, 1024, "first"))
