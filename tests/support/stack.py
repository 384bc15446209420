"""A stack for tests, on free ports and in a temporary folder, run by the stack's own commands."""

import io
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from readmit.settings import ROOT, StackSettings
from stack import configuration, down, sessions
from stack.postgres import reachable
from stack.supervisor import Supervisor
from tests.support.services import S3_OFFSETS, free_port

PORTS = (
    "READMIT_POSTGRES_PORT",
    "READMIT_MLFLOW_PORT",
    "READMIT_API_PORT",
    "READMIT_UI_PORT",
    "READMIT_DOCS_PORT",
    "READMIT_AIRFLOW_PORT",
    "READMIT_PROMETHEUS_PORT",
    "READMIT_PUSHGATEWAY_PORT",
    "READMIT_NODE_EXPORTER_PORT",
    "READMIT_POSTGRES_EXPORTER_PORT",
    "READMIT_BLACKBOX_EXPORTER_PORT",
    "READMIT_S3_METRICS_PORT",
    "READMIT_ALERTMANAGER_PORT",
    "READMIT_GRAFANA_PORT",
    "READMIT_NOTEBOOK_PORT",
)


def write_env(home: Path, **values: object) -> Path:
    """Write an env file with free ports; `make up` adds the passwords."""
    variables: dict[str, object] = {name: free_port() for name in PORTS}
    variables |= {"READMIT_S3_PORT": free_port(S3_OFFSETS), "READMIT_HOME": home / "stack"}
    # No test downloads what the machine lacks.
    variables |= {"READMIT_MONITORING_MIRROR": "http://127.0.0.1:9", **values}
    lines = [f"{name}={value}\n" for name, value in variables.items()]
    path = home / "stack.env"
    path.write_text("".join(lines))
    return path


def run(
    module: str, *arguments: str, seconds: float = 120, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of the stack as `make` does, with more environment variables."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def run_here(module: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Do what `run` does in this process, which has imported most already.

    For commands that refuse to do anything: the environment and the umask are as before at the end.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(sys, "argv", [module, *arguments]),
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
        warnings.catch_warnings(),
    ):
        # Its functions are imported under their own name, too.
        warnings.filterwarnings("ignore", message=".*found in sys.modules after import")
        try:
            runpy.run_module(module, run_name="__main__")
            status: str | int | None = 0
        except SystemExit as end:
            status = end.code
        finally:
            os.umask(umask)
    if isinstance(status, str):
        stderr.write(f"{status}\n")
        status = 1
    return subprocess.CompletedProcess(
        [module, *arguments], status or 0, stdout.getvalue(), stderr.getvalue()
    )


def make(target: str, seconds: float = 120, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `make` in a shell that has more variables; the environment is not installed anew."""
    return subprocess.run(
        ["make", "--old-file=env", target],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def leftovers(settings: StackSettings) -> list[int]:
    """Return the ids of the processes of this stack."""
    return [process.pid for process in sessions.processes_of(settings.readmit_home)]


@contextmanager
def environment(env_file: Path):
    """Yield the settings of this env file; at the end, the stack is stopped in any case."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READMIT_ENV_FILE", str(env_file))
        for name in ("READMIT_DATASET", "READMIT_DATASET_SHA256", "DBT_TARGET_PATH"):
            patch.delenv(name, raising=False)
        configuration.write_env()
        settings = StackSettings()
        try:
            yield settings
        finally:
            down.stop(settings)
            home = reachable(settings.readmit_home)
            if home != settings.readmit_home:
                shutil.rmtree(home)


def pid(settings: StackSettings, name: str) -> int:
    """Return the supervisor's process id of a program, or 0 when it does not run."""
    return int(Supervisor(settings).states().get(name, {}).get("pid") or 0)
