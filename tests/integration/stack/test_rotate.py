"""`make rotate` on a running stack: real Postgres, object store, MLflow and API, without Airflow's
programs.

The API has no model here: that it answers all along is seen by `/livez`.
"""

import os
import threading
from pathlib import Path

import httpx
import psycopg2
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from readmit import db, storage
from readmit.settings import RegistryReaderSettings
from stack import configuration, programs, rotate, set_up, superuser_password, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import stack

NAMES = ("postgres", "s3", "mlflow", "api-socket", "api")
RUN = set_up.run
UNTOUCHED = ("postgres", "api-socket")


def only_these(settings, busy=()):
    return [program for program in programs.all_programs(settings) if program.name in NAMES]


def run_without_airflow(command, settings):
    """Run what `make up` runs, but for Airflow's own commands, which take a minute."""
    if command.module[0] != "airflow":
        RUN(command, settings)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    """Yield settings and process ids before and after a rotation, and the API's answers meanwhile.

    An earlier rotation was killed before the superuser got its new password.
    """
    home = tmp_path_factory.mktemp("stack")
    home.chmod(0o711)
    env_file = stack.write_env(home)
    with stack.environment(env_file) as first, pytest.MonkeyPatch.context() as patch:
        patch.setattr(up, "programs_to_start", only_these)
        patch.setattr(set_up, "run", run_without_airflow)
        up.start_all(only_these(first), first, Supervisor(first), Progress())
        superuser_password.keep(first)
        configuration.change_env({"READMIT_POSTGRES_PASSWORD": "of-a-killed-rotation"})
        before = configuration.stack_settings()
        superuser_password.renew(before)
        pids = {name: stack.pid(before, name) for name in NAMES}
        session = db.connect("serving", before.clean_database, before)
        answers = []
        ended = threading.Event()

        def call() -> None:
            while not ended.wait(0.02):
                try:
                    url = f"{before.api_url}/livez"
                    answers.append(httpx.get(url, timeout=30, trust_env=False).status_code)
                except httpx.HTTPError as error:
                    answers.append(repr(error))

        caller = threading.Thread(target=call)
        caller.start()
        try:
            rotate.rotate(before, Progress())
        finally:
            ended.set()
            caller.join()
        with session, session.cursor() as cur:
            cur.execute("select 1")
        session.close()
        after = configuration.stack_settings()
        yield before, after, pids, answers


def test_the_api_answers_all_along(rotated):
    _, after, pids, answers = rotated
    assert len(answers) > 100
    assert set(answers) == {200}
    assert stack.pid(after, "api") != pids["api"]


def test_what_holds_no_changed_secret_is_not_restarted(rotated):
    _, after, pids, _ = rotated
    running = {name: stack.pid(after, name) for name in NAMES}
    assert {name for name in NAMES if running[name] == pids[name]} == set(UNTOUCHED)


@pytest.mark.parametrize("role", [*db.ROLES])
def test_the_passwords_of_roles_are_new(role, rotated):
    before, after, _, _ = rotated
    databases = {"mlflow": "mlflow", "airflow": "airflow", "loader": after.raw_database}
    database = databases.get(role, after.clean_database)
    db.connect(role, database, after).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        db.connect(role, database, before)


def test_the_keys_of_the_store_are_new(rotated):
    before, after, _, _ = rotated
    assert storage.client("admin", after).list_buckets()["Buckets"]
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        storage.client("admin", before).list_buckets()


def test_the_passwords_of_mlflow_are_new(rotated):
    before, after, _, _ = rotated
    url = f"{after.mlflow_tracking_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    for login in (after.mlflow_login(), RegistryReaderSettings.mlflow_login(after)):
        assert httpx.get(url, auth=login, trust_env=False).is_success
    for login in (before.mlflow_login(), RegistryReaderSettings.mlflow_login(before)):
        assert httpx.get(url, auth=login, trust_env=False).status_code == 401


def test_the_superuser_of_before_is_nowhere_kept(rotated):
    before, after, _, _ = rotated
    password = before.postgres_password.get_secret_value()
    for path in (after.readmit_home, *after.readmit_home.glob("*")):
        if path.is_file():
            assert password not in path.read_text(errors="replace"), path
    assert password not in Path(os.environ["READMIT_ENV_FILE"]).read_text()


def test_the_record_has_names_and_no_values(rotated):
    _, after, _, _ = rotated
    record = (after.readmit_home / "log" / "rotations.log").read_text()
    assert "READMIT_SERVING_PASSWORD" in record
    for value in after.model_dump().values():
        if isinstance(value, SecretStr) and value.get_secret_value():
            assert value.get_secret_value() not in record
