"""Run MLflow's server in one process: `python -m readmit.ops.mlflow_server server OPTION ...`.

`mlflow server` reads its options, makes the administrator, starts uvicorn as a child and waits for
its end. The waiting process holds about 200 MB. Here it becomes uvicorn instead of starting it.
"""

import os
from collections.abc import Mapping

import mlflow.server
from mlflow.cli import cli


def become(command: list[str], *, extra_env: Mapping[str, str], **_options: object) -> None:
    """Replace this process by the command; takes the arguments of MLflow's own `_exec_cmd`."""
    os.execvpe(command[0], command, {**os.environ, **extra_env})  # noqa: S606 (MLflow's own command)


if __name__ == "__main__":
    # MLflow has no setting for it. Without this name it would start a child, as `mlflow server`.
    mlflow.server._exec_cmd = become  # type: ignore[attr-defined,assignment]
    cli()
