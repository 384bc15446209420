"""MLflow asks for a log-in, the prediction API's may only read, the notebook's may only add trials.

Before, any user of the machine moved the alias `production` by one request without a log-in.
"""

import secrets
import subprocess
import sys

import httpx
import pytest
from pydantic import SecretStr

from readmit import db
from readmit.settings import MLFLOW_NOTEBOOK, MLFLOW_READER, ROOT, StackSettings
from stack import set_up
from tests.support import services
from training import mlflow_tracking

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def model(mlflow_server: StackSettings) -> str:
    """Return the name of a registered model with one version in production."""
    name = f"login-{secrets.token_hex(4)}"
    with client(mlflow_server, mlflow_server.mlflow_login()) as admin:
        admin.post(f"{API}/registered-models/create", json={"name": name}).raise_for_status()
        version = {"name": name, "source": "s3://mlflow/x"}
        admin.post(f"{API}/model-versions/create", json=version).raise_for_status()
        alias = {"name": name, "alias": "production", "version": "1"}
        admin.post(f"{API}/registered-models/alias", json=alias).raise_for_status()
    return name


def client(settings: StackSettings, login: tuple[str, str] | None) -> httpx.Client:
    return httpx.Client(
        base_url=settings.mlflow_tracking_uri, auth=login, timeout=30, trust_env=False
    )


def reader(settings: StackSettings) -> tuple[str, str]:
    assert settings.mlflow_api_password is not None
    return MLFLOW_READER, settings.mlflow_api_password.get_secret_value()


def changes(name: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return requests that would change what is served or who may change it."""
    return [
        ("POST", "registered-models/alias", {"name": name, "alias": "production", "version": "1"}),
        ("DELETE", "registered-models/alias", {"name": name, "alias": "production"}),
        ("POST", "model-versions/create", {"name": name, "source": "s3://mlflow/evil"}),
        (
            "POST",
            "model-versions/set-tag",
            {"name": name, "version": "1", "key": "a", "value": "b"},
        ),
        ("DELETE", "model-versions/delete", {"name": name, "version": "1"}),
        ("DELETE", "registered-models/delete", {"name": name}),
        ("POST", "users/create", {"username": "eve", "password": "a-long-password"}),
        ("PATCH", "users/update-admin", {"username": MLFLOW_READER, "is_admin": "true"}),
        ("POST", "experiments/delete", {"experiment_id": "0"}),
        ("POST", "runs/create", {"experiment_id": "0"}),
    ]


@pytest.mark.parametrize("login", [None, ("admin", "wrong"), ("admin", "password")])
def test_nothing_answers_without_a_log_in(mlflow_server, model, login):
    with client(mlflow_server, login) as stranger:
        for method, path, fields in changes(model):
            assert stranger.request(method, f"{API}/{path}", json=fields).status_code == 401
        assert stranger.get(f"{API}/registered-models/get", params={"name": model}).is_error
        assert stranger.get("/").status_code == 401
        assert stranger.get("/health").is_success


def notebook(settings: StackSettings) -> tuple[str, str]:
    assert settings.mlflow_notebook_password is not None
    return MLFLOW_NOTEBOOK, settings.mlflow_notebook_password.get_secret_value()


def test_the_notebooks_user_changes_what_it_has_created(mlflow_server):
    with client(mlflow_server, notebook(mlflow_server)) as trials:
        name = {"name": f"trials-{secrets.token_hex(4)}"}
        created = trials.post(f"{API}/experiments/create", json=name).raise_for_status()
        trials.post(f"{API}/runs/create", json=created.json()).raise_for_status()
        trials.post(f"{API}/experiments/delete", json=created.json()).raise_for_status()


@pytest.mark.parametrize("login", [reader, notebook])
def test_other_users_read_and_change_nothing(mlflow_server, model, login):
    with client(mlflow_server, login(mlflow_server)) as api:
        params = {"name": model, "alias": "production"}
        response = api.get(f"{API}/registered-models/alias", params=params).raise_for_status()
        assert response.json()["model_version"]["version"] == "1"
        for method, path, fields in changes(model):
            response = api.request(method, f"{API}/{path}", json=fields)
            assert response.status_code == 403, (path, response.text)


def test_training_logs_in_by_its_settings(mlflow_server, model, monkeypatch):
    monkeypatch.delenv("READMIT_MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.delenv("READMIT_MLFLOW_TRACKING_PASSWORD", raising=False)
    with mlflow_tracking.reaching(mlflow_server) as registry:
        assert registry.get_model_version_by_alias(model, "production").version in (1, "1")


def test_make_up_sets_mlflows_users_until_mlflow_asks_for_their_passwords(mlflow_server):
    """An MLflow without a log-in, as an earlier release had it, answers any user."""
    assert set_up.is_mlflow_current(mlflow_server)
    other = {"mlflow_api_password": SecretStr("another-password")}
    assert not set_up.is_mlflow_current(mlflow_server.model_copy(update=other))
    open_url = f"http://127.0.0.1:{mlflow_server.s3_port}/healthz?"  # answers without a log-in
    open_server = {"mlflow_tracking_uri": open_url}
    assert not set_up.is_mlflow_current(mlflow_server.model_copy(update=open_server))


# Prints whether MLflow would start before and after the set-up, on tables of the revision before
# the newest.
UPGRADE = """
import os
from alembic import command
from sqlalchemy import create_engine
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from readmit.ops import mlflow_users

mlflow_users.URL = "postgresql+psycopg2://mlflow@/mlflow_old"
engine = create_engine(mlflow_users.URL)
Base.metadata.create_all(engine)
config = utils._get_alembic_config(mlflow_users.URL)
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "head-1")
for step in ("before", "after"):
    try:
        utils._verify_schema(engine)
        print(step, "fits")
    except Exception as error:
        print(step, str(error)[:40])
    mlflow_users.main()
"""


def test_tables_of_an_earlier_release_are_upgraded(mlflow_server: StackSettings) -> None:
    connection = db.connect("postgres", "postgres", mlflow_server)
    connection.autocommit = True
    connection.cursor().execute("create database mlflow_old owner mlflow")
    connection.close()
    login = {
        "PGHOST": mlflow_server.postgres_host,
        "PGPORT": str(mlflow_server.postgres_port),
        "PGPASSWORD": db.password("mlflow", mlflow_server),
    }
    run = subprocess.run(
        [sys.executable, "-c", UPGRADE],
        env=services.environment(mlflow_server) | login,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    before, after = run.stdout.splitlines()[-2:]
    assert before.startswith("before Detected out-of-date database schema"), run.stdout
    assert after == "after fits"


def test_running_mlflow_of_another_version_is_not_current(
    mlflow_server: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set_up.is_mlflow_current(mlflow_server)
    monkeypatch.setattr(set_up.metadata, "version", lambda _: "3.18.0")
    assert not set_up.is_mlflow_current(mlflow_server)
