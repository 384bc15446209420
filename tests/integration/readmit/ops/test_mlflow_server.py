"""MLflow's server is one process, which checks the name by which it is called."""

import httpx
import psutil

from readmit.settings import StackSettings


def test_the_server_is_one_process(mlflow_server: StackSettings) -> None:
    """`mlflow server` would wait for its child with 200 MB."""
    port = str(mlflow_server.mlflow_port)
    processes = psutil.Process().children(recursive=True)
    commands = [process.cmdline() for process in processes if port in process.cmdline()]
    assert len(commands) == 1


def test_a_name_that_a_stranger_gave_to_our_address_is_refused(
    mlflow_server: StackSettings,
) -> None:
    """A page on another host could otherwise reach MLflow by a name of its own (DNS rebinding)."""
    url = f"{mlflow_server.mlflow_tracking_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    login = mlflow_server.mlflow_login()
    assert httpx.get(url, auth=login, trust_env=False).status_code == 200
    foreign = httpx.get(url, auth=login, headers={"Host": "evil.example"}, trust_env=False)
    assert foreign.status_code == 403
