"""MLflow's server is one process: `mlflow server` would wait for its child with 200 MB."""

import psutil

from readmit.settings import StackSettings


def test_the_server_is_one_process(mlflow_server: StackSettings) -> None:
    port = str(mlflow_server.mlflow_port)
    processes = psutil.Process().children(recursive=True)
    commands = [process.cmdline() for process in processes if port in process.cmdline()]
    assert len(commands) == 1
    assert "uvicorn" in commands[0]
