"""An Airflow of a test's own: scheduler, triggerer and api-server; each task is a process.

It has the settings of the stack's Airflow, but its api-server has no pages, and its executor
imports only the libraries of dbt's tasks beforehand. The DAG files are read once, when it starts.
"""

import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from readmit import db
from readmit.settings import ROOT, StackSettings
from stack.programs import airflow_environment
from tests.support.raw import query
from tests.support.services import environment, free_port, kill, wait_until

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
PROGRAMS = (
    ("api-server", "--apps", "execution"),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)
# One process: Airflow's import takes seconds.
PREPARE = """
from airflow.cli.cli_parser import get_parser
for command in (["db", "migrate"], ["dags", "reserialize"]):
    arguments = get_parser().parse_args(command)
    arguments.func(arguments)
"""
SECONDS = 240
ENDED = "select state from dag_run where dag_id = %s and state in ('success', 'failed')"
TASKS = """
    select task_id, state, try_number, pid is not null or queued_dttm is not null
    from task_instance where dag_id = %s
"""


@dataclass(frozen=True)
class Task:
    """What Airflow's database tells of a task of a run."""

    state: str
    try_number: int
    had_process: bool


class PrivateAirflow:
    """Runs DAGs; everything ends with its context."""

    def __init__(self, settings: StackSettings, folder: Path, **variables: str) -> None:
        """Prepare an Airflow for the DAG files of `folder / "dags"`; nothing runs yet."""
        values = {
            "readmit_home": folder,
            "airflow_port": free_port(),
            "airflow_fernet_key": Fernet.generate_key().decode(),
            "airflow_secret_key": secrets.token_hex(16),
            "airflow_jwt_secret": secrets.token_hex(32),
        }
        self.logs = folder / "airflow" / "logs"
        self._settings = StackSettings(**{**settings.model_dump(), **values})
        self._database = f"airflow_{secrets.token_hex(4)}"
        self._folder = folder
        self._variables = variables
        self._running = ExitStack()

    def __enter__(self) -> "PrivateAirflow":
        with (
            closing(db.connect("postgres", "postgres", self._settings)) as connection,
            connection.cursor() as cur,
        ):
            connection.autocommit = True
            cur.execute(f"create database {self._database} owner airflow")
        process = self._start("prepare", "-c", PREPARE)
        assert process.wait() == 0, self._output("prepare").read_text()[-3000:]
        for name, *options in PROGRAMS:
            self._start(name, AIRFLOW, name, *options)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def run(self, dag_id: str) -> dict[str, Task]:
        """Let the schedule of a DAG that was paused run it once; returns its tasks by name."""
        self._query("update dag set is_paused = false where dag_id = %s", dag_id)
        wait_until(lambda: self._query(ENDED, dag_id), f"{dag_id} does not end", SECONDS)
        return {task_id: Task(*values) for task_id, *values in self._query(TASKS, dag_id)}

    def _query(self, statement: str, *arguments: object) -> list[tuple[object, ...]]:
        return query(self._settings, self._database, statement, *arguments, role="airflow")

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with self._output(name).open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environment(),
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._running.callback(kill, process)
        return process

    def _output(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _environment(self) -> Mapping[str, str]:
        variables = airflow_environment(self._settings)
        address = variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].rpartition("/")[0]
        own = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._folder / "dags"),
            "AIRFLOW__CORE__EXECUTOR": "tests.support.dbt_executor.DbtExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{address}/{self._database}",
            "AIRFLOW__LOGGING__REMOTE_LOGGING": "false",
            "PYTHONPATH": str(ROOT),
        }
        return environment(self._settings) | variables | own | self._variables
