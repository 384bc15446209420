"""A stack of the tests' own: other ports, another folder, started and stopped by the stack's own commands."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from readmit.settings import ROOT, StackSettings
from stack import configuration, down, sessions
from stack.postgres import reachable
from stack.supervisor import Supervisor
from tests.support.services import S3_OFFSETS, free_port

PORTS = (
    *(
        "POSTGRES_PORT",
        "MLFLOW_PORT",
        "API_PORT",
        "UI_PORT",
        "DOCS_PORT",
        "AIRFLOW_PORT",
        "PROMETHEUS_PORT",
    ),
    *(
        "PUSHGATEWAY_PORT",
        "NODE_EXPORTER_PORT",
        "POSTGRES_EXPORTER_PORT",
        "BLACKBOX_EXPORTER_PORT",
        "S3_METRICS_PORT",
        "GRAFANA_PORT",
    ),
)


def write_env(home: Path, **values: object) -> Path:
    """Write an env file with free ports; `make up` adds the passwords."""
    known = {name: free_port() for name in PORTS} | {"S3_PORT": free_port(S3_OFFSETS)}
    known |= {"READMIT_HOME": home / "stack", **values}
    path = home / "stack.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in known.items()))
    return path


def run(
    module: str, *arguments: str, seconds: float = 120, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run one of the stack's commands as `make` does, in this process' environment."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def leftovers(settings: StackSettings) -> list[int]:
    """Return the processes of this stack."""
    return [process.pid for process in sessions.processes_of(settings.readmit_home)]


@contextmanager
def environment(env_file: Path):
    """Lead settings to this env file; what runs at the end is stopped whatever happened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READMIT_ENV_FILE", str(env_file))
        for name in ("DATASET", "DATASET_SHA256", "DBT_TARGET_PATH"):
            patch.delenv(name, raising=False)
        configuration.write_env()
        settings = StackSettings()
        try:
            yield settings
        finally:
            down.stop(settings)
            if (refuge := reachable(settings.readmit_home)) != settings.readmit_home:
                shutil.rmtree(refuge)


def pid(settings: StackSettings, name: str) -> int:
    """Return the process of a program, as the supervisor knows it; 0 while there is none."""
    return int(Supervisor(settings).states().get(name, {}).get("pid") or 0)
