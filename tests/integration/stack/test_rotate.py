"""`make rotate` on a running stack: real Postgres, object store, MLflow and API, without Airflow's
programs.

The API serves a small model from its local copy: predictions go on, with the patient's history.
"""

import json
import os
import threading
from functools import partial
from pathlib import Path

import httpx
import psycopg2
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from readmit import db, storage
from readmit.contract.definition import Contract
from readmit.inference import signatures
from readmit.settings import RegistryReaderSettings, StackSettings
from serving.bundle_cache import BundleCache
from serving.bundle_loader import Version
from stack import configuration, programs, rotate, set_up, state_folder, superuser_password, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import raw, stack
from tests.support.services import wait_until
from tests.support.training import make_rows
from training import bundle_writer, candidates, compilation, features

NAMES = ("postgres", "s3", "mlflow", "api-socket", "api")
RUN = set_up.run
SET_UP = set_up.set_up
PATIENT = 7
UNTOUCHED = ("postgres", "api-socket")


def only_these(settings, busy=()):
    return [program for program in programs.all_programs(settings) if program.name in NAMES]


def run_without_airflow(command, settings):
    """Run what `make up` runs, but for Airflow's own commands, which take a minute."""
    if command.module[0] != "airflow":
        RUN(command, settings)


def plant_model(contract: Contract, settings: StackSettings) -> dict:
    """Put a signed model into the API's local copy; return a stay for it."""
    version = Version("readmission", "1", "run1", "2026-01-01T00:00:00", "7")
    cache = BundleCache(settings.readmit_home / "models")
    folder = cache.folder(version)
    folder.mkdir(parents=True)
    rows = make_rows(contract)
    train = rows[rows["split"] == "train"]
    pipeline = candidates.CANDIDATES["logistic"](contract, 1, 1)
    pipeline.fit(train[features.columns(contract)], features.labels(contract, train))
    compilation.write(pipeline, contract, rows, folder)
    examples = bundle_writer.examples(pipeline, contract, rows)
    (folder / "examples.json").write_text(json.dumps(examples))
    (folder / "report.json").write_text(json.dumps({"threshold": 0.2}))
    statement = signatures.Statement("readmission", "1", "1", signatures.digests(folder))
    key = settings.model_signing_key.get_secret_value()
    (folder / signatures.FILE_NAME).write_text(signatures.sign(statement, key))
    cache.set_pointer("current", version)
    inputs = {feature.name for feature in contract.inputs}
    return {name: value for name, value in examples["rows"][0].items() if name in inputs}


def plant_history(contract: Contract, settings: StackSettings) -> None:
    """Create the relation that dbt would build, with one patient."""
    columns = "".join(f", {feature.name} {feature.data_type}" for feature in contract.history)
    statements = (
        "create schema if not exists marts; grant usage on schema marts to serving;"
        f" create table marts.dim_patients (patient_nbr bigint primary key{columns});"
        f" insert into marts.dim_patients values ({PATIENT});"
        " grant select on marts.dim_patients to serving"
    )
    raw.query(settings, settings.clean_database, statements)


class Caller(threading.Thread):
    """Asks for one prediction after the other.

    Attributes:
        answers: status and history of each, or the error.
        patient_nbr: whose history is asked for; None asks for none.
    """

    def __init__(self, url: str, stay: dict) -> None:
        super().__init__()
        self.answers: list[tuple[object, str | None]] = []
        self.patient_nbr: int | None = None
        self._url = url
        self._stay = stay
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            stay = dict(self._stay)
            if self.patient_nbr is not None:
                stay["patient_nbr"] = self.patient_nbr
            try:
                response = httpx.post(self._url, json=stay, timeout=30, trust_env=False)
            except httpx.HTTPError as error:
                self.answers.append((repr(error), None))
            else:
                self.answers.append((response.status_code, response.json().get("history")))

    def stop(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def rotated(tmp_path_factory, contract):
    """Yield settings and process ids before and after a rotation, and the API's answers meanwhile.

    An earlier rotation was killed before the superuser got its new password.
    """
    home = tmp_path_factory.mktemp("stack")
    home.chmod(0o711)
    env_file = stack.write_env(home, READMIT_HISTORY_TIMEOUT_MS=1000)
    with stack.environment(env_file) as first, pytest.MonkeyPatch.context() as patch:
        patch.setattr(up, "programs_to_start", only_these)
        patch.setattr(set_up, "run", run_without_airflow)
        state_folder.claim(first.readmit_home)
        stay = plant_model(contract, first)
        up.start_all(only_these(first), first, Supervisor(first), Progress())
        is_ready = partial(up.is_api_ready, first.api_url)
        wait_until(is_ready, "the API serves its model")  # `start_all` does not wait for it
        superuser_password.keep(first)
        configuration.change_env({"READMIT_POSTGRES_PASSWORD": "of-a-killed-rotation"})
        before = configuration.stack_settings()
        superuser_password.renew(before)
        pids = {name: stack.pid(before, name) for name in NAMES}
        session = db.connect("serving", before.clean_database, before)
        plant_history(contract, before)
        caller = Caller(f"{before.api_url}/predict", stay)

        def set_up_and_ask(*arguments):
            """From here on the API has to open its first connection for histories."""
            tables = SET_UP(*arguments)
            caller.patient_nbr = PATIENT
            return tables

        patch.setattr(set_up, "set_up", set_up_and_ask)
        caller.start()
        try:
            rotate.rotate(before, Progress())
        finally:
            caller.stop()
        with session, session.cursor() as cur:
            cur.execute("select 1")
        session.close()
        after = configuration.stack_settings()
        yield before, after, pids, caller.answers


def test_the_api_answers_all_along(rotated):
    _, after, pids, answers = rotated
    assert len(answers) > 100
    assert {status for status, _ in answers} == {200}
    assert stack.pid(after, "api") != pids["api"]


def test_every_prediction_has_the_history(rotated):
    """Before, the API that still answered could not log in to Postgres any more."""
    *_, answers = rotated
    histories = {history for _, history in answers}
    assert histories == {"assumed_first_stay", "looked_up"}


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
