"""Passwords from a vault may hold characters that an address may not: parts use them unchanged."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from psycopg2 import sql

from readmit import db
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from serving.api_settings import ServingSettings
from serving.model_registry import Registry
from tests.support import k8s
from tests.support.services import services

PASSWORD = "p@ss/w:rd%20$(HOME)#?&'"
# Both ways in which Airflow's parts reach their database.
LOGINS = """
import asyncio
from sqlalchemy import text
from airflow import settings
settings.configure_orm()
WHO = text("select current_user")
with settings.engine.connect() as connection:
    users = [connection.execute(WHO).scalar()]
async def ask():
    async with settings.async_engine.connect() as connection:
        return (await connection.execute(WHO)).scalar()
users.append(asyncio.run(ask()))
print("logged in as", *users)
"""


@pytest.fixture
def settings() -> Iterator[StackSettings]:
    stack_settings = StackSettings(**{**services(), "airflow_password": PASSWORD})
    bootstrap(StackSettings(**services()))
    _set_password(PASSWORD, stack_settings)
    yield stack_settings
    _set_password(str(services()["airflow_password"]), stack_settings)


def _set_password(password: str, settings: StackSettings) -> None:
    with db.transaction("postgres", "postgres", settings) as server, server.cursor() as cur:
        cur.execute(sql.SQL("alter role airflow password {}").format(sql.Literal(password)))


def environment(part: str, values: dict[str, str]) -> dict[str, str]:
    """Return the variables that a part's own container sets, with $(NAME) replaced.

    They come from ConfigMap and Secret.
    """
    variables: dict[str, str] = {}
    for variable in k8s.pods(k8s.overlay("local"))[part]["spec"]["containers"][0]["env"]:
        source = variable.get("valueFrom", {})
        reference = source.get("configMapKeyRef") or source.get("secretKeyRef") or {}
        value = variable.get("value") or values.get(reference.get("key"), "")
        if "value" in variable:
            for name, earlier in variables.items():
                value = value.replace(f"$({name})", earlier)
        variables[variable["name"]] = value
    return variables


def test_airflow_logs_in(settings: StackSettings, tmp_path: Path) -> None:
    values = {
        "READMIT_POSTGRES_HOST": "127.0.0.1",
        "READMIT_POSTGRES_PORT": str(settings.postgres_port),
        "AIRFLOW_PASSWORD": PASSWORD,
    }
    variables = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(tmp_path),
        **environment("airflow-scheduler", values),
    }
    completed = subprocess.run(
        [sys.executable, "-c", LOGINS], env=variables, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr[-1500:]
    assert "logged in as airflow airflow" in completed.stdout


class Guarded(BaseHTTPRequestHandler):
    """A registry without versions, which records the credentials of each request."""

    authorizations: list[str]

    def do_GET(self) -> None:
        self.authorizations.append(self.headers.get("Authorization", ""))
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


def test_the_api_logs_in_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    Guarded.authorizations = []
    secret = {"MLFLOW_API_PASSWORD": PASSWORD}
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = {"READMIT_MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.server_port}"}
        for name, value in (address | environment("api", secret)).items():
            monkeypatch.setenv(
                name, value.replace("mlflow:5000", f"127.0.0.1:{server.server_port}")
            )
        registry = Registry(ServingSettings())
        assert registry.find_version("production") is None
        registry.close()
        server.shutdown()
    assert (
        base64.b64decode(Guarded.authorizations[0].removeprefix("Basic ")).decode()
        == f"api:{PASSWORD}"
    )
