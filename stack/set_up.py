"""Prepare databases, buckets, Airflow, MLflow and dbt before their programs start.

Each step does only what is still missing.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import httpx
from psycopg2 import OperationalError, ProgrammingError

from readmit import db, storage
from readmit.inference import signatures
from readmit.ops import bootstrap, schema_versions
from readmit.ops.backup_folder import BackupFailed
from readmit.ops.schema_versions import MigrationFailed, SchemaTooNew
from readmit.settings import MLFLOW_NOTEBOOK, ROOT, RegistryReaderSettings, StackSettings
from stack import backups, foreign_tables, programs, superuser_password
from stack.progress import Progress

Result = TypeVar("Result")

DBT_PROJECT = ROOT / "dbt_project"
# dbt reads its project anew, which takes a core 3 s, when these differ from the last time. So they
# are those of the task that builds a batch (dags/transformations.py).
AS_THE_BUILD = ("--profile", "readmit", "--target", "default", "--vars", '{"schema_suffix": ""}')


class SetUpFailed(Exception):
    """A setup command failed; the message has its last line."""


@dataclass(frozen=True)
class Command:
    """A Python module that prepares a program.

    Its environment is that of Airflow's tasks, or that of this process with every setting.
    """

    title: str
    log_name: str
    module: tuple[str, ...]
    has_every_setting: bool = False


AIRFLOW_TABLES = Command("Airflow's tables", "airflow-migrate", ("airflow", "db", "migrate"))
MLFLOW_USERS = Command(
    "MLflow's tables and users",
    "mlflow-users",
    ("readmit.ops.mlflow_users",),
    has_every_setting=True,
)
DBT_MANIFEST = Command(
    "dbt's manifest",
    "dbt-parse",
    (
        "dbt.cli.main",
        "parse",
        "--project-dir",
        str(DBT_PROJECT),
        "--profiles-dir",
        str(DBT_PROJECT),
        *AS_THE_BUILD,
    ),
)
ADOPTION = Command("the signature of the model in production", "adopt", ("training.adopt",))
AIRFLOW_KEYS = Command("Airflow's connections", "airflow-keys", ("airflow", "rotate-fernet-key"))


@dataclass(frozen=True)
class Tables:
    """The commands under way that bring the tables of Airflow and of MLflow up to date.

    The result of each raises `SetUpFailed` when it failed.
    """

    airflow: "Future[None]"
    mlflow: "Future[bool]"


def set_up(
    settings: StackSettings,
    progress: Progress,
    wait_for_store: Callable[[], None],
    later: Collection[db.Role] = (),
) -> Tables:
    """Create what is missing of databases, roles and buckets, and begin with tables and users.

    Args:
        settings: of the stack, whose Postgres is ready.
        progress: shows what is going on.
        wait_for_store: returns when the object store is ready. The databases do not need it.
        later: roles that keep the password which they have, for programs that go on.

    Returns:
        The commands that go on meanwhile.

    Raises:
        SetUpFailed: a part of it failed; the message says which and names its log.
    """
    progress.show("databases and roles")
    try:
        superuser_password.renew(settings)
        _save_before_migrations(settings, progress, wait_for_store)
        bootstrap.bootstrap(settings, later)
    except OperationalError as error:
        home = programs.server(settings).home
        raise SetUpFailed(
            f"{error}If .env is new: the data in {home} has the old passwords (make clean)"
        ) from error
    except (SchemaTooNew, MigrationFailed) as error:
        raise SetUpFailed(str(error)) from error
    # They do not depend on each other, and each is busy importing for most of its time.
    tables = Tables(
        airflow=_begin(run, AIRFLOW_TABLES, settings),
        mlflow=_begin(_run_unless, partial(is_mlflow_current, settings), MLFLOW_USERS, settings),
    )
    wait_for_store()
    progress.show("buckets")
    storage.ensure_buckets(settings)
    progress.show("tables of Airflow and MLflow")
    return tables


def _begin(function: Callable[..., Result], *arguments: object) -> "Future[Result]":
    """Call a function in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    result = pool.submit(function, *arguments)
    pool.shutdown(wait=False)
    return result


def _run_unless(is_done: Callable[[], bool], command: Command, settings: StackSettings) -> bool:
    """Run a command unless what it brings is there already; return whether it ran."""
    if is_done():
        return False
    run(command, settings)
    return True


def begin_manifest(settings: StackSettings) -> "Future[bool]":
    """Have dbt write its manifest, if its project has changed. It does not need Postgres, whose
    start leaves a core free.

    Returns:
        Whether there is a new one; the result raises `SetUpFailed` when dbt cannot read its
        project.
    """
    return _begin(_run_unless, _is_manifest_current, DBT_MANIFEST, settings)


def _save_before_migrations(
    settings: StackSettings, progress: Progress, wait_for_store: Callable[[], None]
) -> None:
    """Make a backup when tables that hold data are about to be changed.

    Raises:
        SetUpFailed: it could not be made; nothing was changed.
    """
    if not settings.readmit_backup_before_upgrade or not schema_versions.has_data(settings):
        return
    migrations = schema_versions.pending(settings) + foreign_tables.pending(settings)
    if not migrations:
        return
    progress.show(f"a backup before the migrations {', '.join(migrations)}")
    wait_for_store()  # a backup has its objects too
    try:
        path = backups.save(settings)
    except (BackupFailed, ProgrammingError) as error:  # the latter: tables of a far earlier release
        raise SetUpFailed(
            f"no backup before the upgrade: {error}. Nothing was changed; set"
            " READMIT_BACKUP_BEFORE_UPGRADE=false to go on without one"
        ) from error
    progress.console.print(f"backup from before the upgrade: {path}", markup=False)


def is_mlflow_current(settings: StackSettings) -> bool:
    """Return whether MLflow runs, in the installed version and with the users of these settings.

    One of an earlier release asks for no password, or its tables may be older.
    """
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    logins = [
        (None, False),
        (settings.mlflow_login(), True),
        (RegistryReaderSettings.mlflow_login(settings), True),
        ((MLFLOW_NOTEBOOK, programs.reveal(settings.mlflow_notebook_password)), True),
    ]
    try:
        url = settings.mlflow_tracking_uri
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
            for login, may_enter in logins:
                if client.get(search, auth=login).is_success != may_enter:
                    return False
            version = client.get("/version", auth=settings.mlflow_login()).text
    except httpx.HTTPError:
        return False
    return version == metadata.version("mlflow")


def adopt_production(settings: StackSettings) -> None:
    """Sign the version in production after an upgrade from a release without signatures."""
    query = (
        "select exists (select from ops.promotions where decision <> 'keep')"
        " and not exists (select from ops.promotions where signed_statement is not null)"
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query)
        [(is_unsigned,)] = cur.fetchall()
    if is_unsigned:
        run(ADOPTION, settings)


def sign_again(settings: StackSettings) -> None:
    """Sign the version in production after `make rotate`, when another key signed it before.

    It comes after the API: the one of before does not trust the new key.
    """
    query = (
        "select signed_statement from ops.promotions"
        " where decision <> 'keep' and signed_statement is not null"
        " order by promotion_id desc limit 1"
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query)
        row = cur.fetchone()
    if row and not signatures.is_of_today(str(row[0]), settings.model_public_key or ""):
        run(ADOPTION, settings)


def _is_manifest_current() -> bool:
    manifest = Path(os.environ.get("DBT_TARGET_PATH", DBT_PROJECT / "target")) / "manifest.json"
    if not manifest.exists():
        return False
    written_at = manifest.stat().st_mtime
    if written_at > time.time():  # the clock was put back since
        return False
    for path in DBT_PROJECT.rglob("*"):
        is_generated = path.relative_to(DBT_PROJECT).parts[0] in ("target", "logs", "dbt_packages")
        if is_generated or not path.is_file():
            continue
        if path.stat().st_mtime > written_at:
            return False
    return True


def run(command: Command, settings: StackSettings) -> None:
    """Run a command, and write its output to its log."""
    scheduler = programs.find("airflow-scheduler", settings)
    environment = programs.environment_of(scheduler, settings)
    if command.has_every_setting:
        environment |= programs.settings_environment(settings)
    process = subprocess.run(
        [sys.executable, "-m", *command.module],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    log = settings.readmit_home / "log" / f"{command.log_name}.log"
    output = process.stdout + process.stderr
    log.write_text(output, encoding="utf-8")
    if process.returncode != 0:
        last_line = output.rstrip().rpartition("\n")[2] or "failed without a message"
        raise SetUpFailed(f"{command.log_name}: {last_line} (its log: {log})")
