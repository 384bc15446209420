"""Run MLflow's server in one process: `python -m readmit.ops.mlflow_server server OPTION ...`.

`mlflow server` reads its options, makes the administrator, starts uvicorn as a child and waits for
its end: the libraries are imported twice (5 s of a core), and the waiting process holds 200 MB.
Here the same process goes on as uvicorn.
"""

import os
from collections.abc import Mapping

# Before MLflow, which checks the names of hosts and the origins only beside a server's library.
import uvicorn

# isort: split
import mlflow.server
from mlflow.cli import cli


def serve(command: list[str], *, extra_env: Mapping[str, str], **_options: object) -> None:
    """Run `python -m uvicorn OPTION ...` here; takes the arguments of MLflow's own `_exec_cmd`."""
    os.environ.update(extra_env)
    uvicorn.main(command[command.index("uvicorn") + 1 :])


if __name__ == "__main__":
    # MLflow has no setting for it. Without this name it would start a child, as `mlflow server`.
    mlflow.server._exec_cmd = serve  # type: ignore[attr-defined,assignment]
    cli()
