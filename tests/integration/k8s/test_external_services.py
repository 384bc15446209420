"""Postgres and the object store elsewhere, with the settings that the production overlay renders.

Both have a certificate of an authority of their own, in the file that the components name.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from botocore.exceptions import ClientError, SSLError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from readmit import db, storage
from readmit.settings import StackSettings
from stack.certificates import self_signed
from stack.object_store import Store
from stack.postgres import reachable
from stack.programs import identities
from tests.support import k8s
from tests.support.services import S3_OFFSETS, environment, free_port, fresh, kill, wait_until
from tests.support.tls_front import tls_front

MLFLOW_BUCKET = "example-readmit-mlflow"
PIPELINE_BUCKET = "example-readmit-pipeline"
# What Airflow does with the log of a task.
LOG = f"""
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
hook = S3Hook("s3_logs")
hook.load_string("a line", "logs/a.log", "{PIPELINE_BUCKET}")
print(hook.read_key("logs/a.log", "{PIPELINE_BUCKET}"))
"""
# What a training does with a file of a model.
ARTIFACT = f"""
import sys
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
get_artifact_repository("s3://{MLFLOW_BUCKET}/1").log_artifact(sys.argv[1])
"""


@dataclass(frozen=True)
class Elsewhere:
    """The services outside of a cluster: settings of their clients, and a pod's variables."""

    settings: StackSettings
    variables: dict[str, str]
    foreign_authority: Path  # which has signed neither certificate

    def run(self, *words: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        """Run Python as in a pod."""
        return subprocess.run(
            [sys.executable, *words],
            env=self.variables | changed,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder = reachable(tmp_path_factory.mktemp("elsewhere"))
    buckets = {"s3_mlflow_bucket": MLFLOW_BUCKET, "s3_pipeline_bucket": PIPELINE_BUCKET}
    local = fresh(folder, **buckets)
    store = Store(folder, free_port(S3_OFFSETS))
    https_port = free_port()
    foreign_authority = folder / "foreign.crt"
    foreign_authority.write_bytes(self_signed("foreign")[0])
    with tls_front(local.postgres_port, folder) as (postgres_port, authority):
        process = start_store(store, https_port, local)
        try:
            certificate = (folder / "s3.crt").read_text()
            authority.write_text(authority.read_text() + certificate)
            variables = environment(local) | pod_variables(
                {
                    "postgres.example.org": "localhost",
                    "s3.example.org": f"localhost:{https_port}",
                    "/etc/postgres-ca/ca.crt": str(authority),
                }
            )
            variables |= {
                "READMIT_HOME": str(folder),
                "AIRFLOW_HOME": str(folder / "airflow"),
                "READMIT_POSTGRES_PORT": str(postgres_port),
                "READMIT_RAW_DATABASE": local.raw_database,
                "READMIT_CLEAN_DATABASE": local.clean_database,
                "READMIT_S3_CA_FILE": str(authority),
                "AWS_CA_BUNDLE": str(authority),
            }
            services = Elsewhere(settings_of(variables), variables, foreign_authority)
            set_up(services)
            yield services
        finally:
            kill(process)  # a regular end takes 15 s
            store.tidy()


def start_store(store: Store, https_port: int, local: StackSettings) -> "subprocess.Popen[bytes]":
    """Start an object store whose gateway speaks TLS at a port of its own."""
    certificate, key = self_signed("s3")
    (store.folder / "s3.crt").write_bytes(certificate)
    (store.folder / "s3.key").write_bytes(key)
    store.prepare(identities(local))
    command = [
        *store.command(),
        f"-s3.port.https={https_port}",
        f"-s3.cert.file={store.folder / 's3.crt'}",
        f"-s3.key.file={store.folder / 's3.key'}",
    ]
    with (store.folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(local) | store.environment, stdout=log, stderr=log
        )
    wait_until(store.is_ready, "the object store does not answer")
    return process


def pod_variables(replaced: dict[str, str]) -> dict[str, str]:
    """Return what pods of the production overlay read, with other addresses and paths."""
    rendered = k8s.overlay("production")
    airflow = k8s.named(rendered, "ConfigMap", "airflow-settings")["data"]
    variables = k8s.named(rendered, "ConfigMap", "settings")["data"] | {
        "AIRFLOW_CONN_S3_LOGS": airflow["AIRFLOW_CONN_S3_LOGS"]
    }
    text = json.dumps(variables)
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return dict(json.loads(text))


def settings_of(variables: dict[str, str]) -> StackSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return StackSettings()


def set_up(elsewhere: Elsewhere) -> None:
    """Run the commands of the Job `set-up`, but for Airflow's tables."""
    pod = k8s.pods(k8s.overlay("production"))["set-up"]["spec"]
    for container in pod["initContainers"]:
        process = elsewhere.run(*container["command"][1:])
        assert process.returncode == 0, process.stdout + process.stderr


def test_the_set_up_job_creates_databases_and_buckets(elsewhere: Elsewhere) -> None:
    with db.transaction("reader", elsewhere.settings.clean_database, elsewhere.settings) as clean:
        clean.cursor().execute("select from ops.published_batches")
    buckets = storage.client("admin", elsewhere.settings).list_buckets()["Buckets"]
    assert {bucket["Name"] for bucket in buckets} == {MLFLOW_BUCKET, PIPELINE_BUCKET}


# ---------------------------------------------------------------- Postgres


@pytest.mark.parametrize("role", db.ROLES)
def test_each_role_connects_to_a_verified_server(elsewhere: Elsewhere, role: db.Role) -> None:
    assert elsewhere.settings.pgsslmode == "verify-full"
    database = "postgres"
    if role not in ("postgres", "reader"):
        database = {
            "mlflow": "mlflow",
            "airflow": "airflow",
            "loader": elsewhere.settings.raw_database,
        }.get(role, elsewhere.settings.clean_database)
    with db.transaction(role, database, elsewhere.settings) as connection:
        assert connection.info.ssl_in_use
        assert connection.info.dsn_parameters["sslmode"] == "verify-full"


def test_a_server_of_another_authority_gets_no_password(elsewhere: Elsewhere) -> None:
    changed = {"pgsslrootcert": elsewhere.foreign_authority}
    settings = elsewhere.settings.model_copy(update=changed)
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        db.connect("reader", "postgres", settings)


def test_a_server_of_another_name_gets_no_password(elsewhere: Elsewhere) -> None:
    """libpq's own variables: dbt, Airflow and MLflow have no others."""
    code = "import psycopg2; psycopg2.connect('host={} hostaddr=127.0.0.1 dbname=airflow')"
    variables = {
        "PGPORT": elsewhere.variables["READMIT_POSTGRES_PORT"],
        "PGUSER": "airflow",
        "PGPASSWORD": db.password("airflow", elsewhere.settings),
    }
    process = elsewhere.run("-c", code.format("localhost"), **variables)
    assert process.returncode == 0, process.stderr
    process = elsewhere.run("-c", code.format("postgres.example.org"), **variables)
    assert "does not match host name" in process.stderr


def test_airflows_asynchronous_driver_verifies_too(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = f"airflow:{db.password('airflow', elsewhere.settings)}"
    address = f"{login}@localhost:{elsewhere.settings.postgres_port}/airflow"

    async def ask() -> bool:
        engine = create_async_engine(f"postgresql+asyncpg://{address}")
        async with engine.begin() as connection:
            answer: bool = (await connection.execute(text("select true"))).scalar_one()
        await engine.dispose()
        return answer

    monkeypatch.setenv("PGSSLMODE", elsewhere.variables["PGSSLMODE"])
    monkeypatch.setenv("PGSSLROOTCERT", elsewhere.variables["PGSSLROOTCERT"])
    assert asyncio.run(ask())
    monkeypatch.setenv("PGSSLROOTCERT", str(elsewhere.foreign_authority))
    with pytest.raises(OSError, match="certificate verify failed"):
        asyncio.run(ask())


# ---------------------------------------------------------------- the object store


def test_identities_keep_their_rights_at_the_store(elsewhere: Elsewhere) -> None:
    """Each `s3-<part>` holds the keys of a user with its own rights."""
    loader = storage.client("loader", elsewhere.settings)
    loader.put_object(Bucket=PIPELINE_BUCKET, Key="source/a.csv", Body=b"a,b\n")
    body = loader.get_object(Bucket=PIPELINE_BUCKET, Key="source/a.csv")["Body"]
    assert body.read() == b"a,b\n"
    with pytest.raises(ClientError, match="AccessDenied"):
        loader.put_object(Bucket=MLFLOW_BUCKET, Key="a", Body=b"")


def test_a_store_of_another_authority_gets_no_request(elsewhere: Elsewhere) -> None:
    for authority in (elsewhere.foreign_authority, None):
        settings = elsewhere.settings.model_copy(update={"s3_ca_file": authority})
        with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            storage.client("loader", settings).list_objects_v2(Bucket=PIPELINE_BUCKET)


def test_airflow_keeps_the_logs_of_tasks_there(elsewhere: Elsewhere) -> None:
    access_key, secret_key = storage.keys("logs", elsewhere.settings)
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    process = elsewhere.run("-c", LOG, **keys)
    assert process.stdout.splitlines()[-1:] == ["a line"], process.stderr


def test_mlflow_keeps_models_there(elsewhere: Elsewhere, tmp_path: Path) -> None:
    access_key, secret_key = storage.keys("trainer", elsewhere.settings)
    keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    model = tmp_path / "model.skops"
    model.write_bytes(b"trees")
    process = elsewhere.run("-c", ARTIFACT, str(model), **keys)
    assert process.returncode == 0, process.stderr
    body = storage.client("trainer", elsewhere.settings).get_object(
        Bucket=MLFLOW_BUCKET, Key="1/model.skops"
    )["Body"]
    assert body.read() == b"trees"
