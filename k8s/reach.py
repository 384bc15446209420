"""Commands of this machine on a cluster: `make rollback CONTEXT=name`, `submit`, `pipeline` ...

`CONTEXT=name python -m k8s.reach -m training.rollback` runs the command with the settings and
passwords of the cluster's parts, and with addresses that lead to them through forwarded ports. A
part outside of the cluster has no Service; its address is the one in the settings.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from k8s.cluster import Cluster, ClusterFailed
from k8s.installation import earlier_choices
from k8s.make_secrets import new_values
from readmit.inherited_environment import forget_the_shell
from readmit.settings import StackSettings, variable

# By Service: its port, and the variables that say where the part is.
FORWARDED: dict[str, tuple[int, dict[str, str]]] = {
    "postgres": (5432, {"READMIT_POSTGRES_HOST": "127.0.0.1", "READMIT_POSTGRES_PORT": "{port}"}),
    "s3": (
        8333,
        {
            "READMIT_S3_ENDPOINT_URL": "http://127.0.0.1:{port}",
            "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:{port}",
        },
    ),
    "mlflow": (5000, {"READMIT_MLFLOW_TRACKING_URI": "http://127.0.0.1:{port}"}),
    "airflow": (8080, {"READMIT_AIRFLOW_PORT": "{port}"}),
    "pushgateway": (9091, {"READMIT_PUSHGATEWAY_URL": "http://127.0.0.1:{port}"}),
}
# So long commands wait for a part that does not answer: a new pod of Airflow's api-server takes
# that long on two busy cores.
PATIENCE = "READMIT_PATIENCE_SECONDS"
PATIENCE_SECONDS = "300"
ONLY_IN_PODS = {"READMIT_HOME", "READMIT_PGSSLROOTCERT", "PGSSLROOTCERT", "AWS_CA_BUNDLE"}
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


@contextmanager
def reached(cluster: Cluster) -> Iterator[StackSettings]:
    """Give this process the environment of the cluster's parts while the block runs.

    Yields the settings that are read from it.

    Raises:
        ClusterFailed: a part cannot be reached.
    """
    with ExitStack() as stack:
        stack.callback(os.environ.update, dict(os.environ))  # after the next line's
        stack.callback(os.environ.clear)
        patience = os.environ.get(PATIENCE, PATIENCE_SECONDS)
        variables = variables_of(cluster) | {PATIENCE: patience}
        authority = cluster.postgres_authority()
        if authority:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            (folder / "ca.crt").write_text(authority, encoding="utf-8")
            variables["READMIT_PGSSLROOTCERT"] = str(folder / "ca.crt")
            if "READMIT_S3_CA_FILE" in variables:
                variables["READMIT_S3_CA_FILE"] = str(folder / "ca.crt")
        services = [service["metadata"]["name"] for service in cluster.get("services")]
        for service, (port, addresses) in FORWARDED.items():
            if service in services:
                local_port = stack.enter_context(cluster.forwarded(service, port))
                for name, address in addresses.items():
                    variables[name] = address.format(port=local_port)
        # From here on nobody runs kubectl, which needs what its users' shells have.
        forget_the_shell()
        os.environ.update(variables)
        yield StackSettings()


def variables_of(cluster: Cluster) -> dict[str, str]:
    """Return settings and passwords of the parts as variables.

    A DATASET that is set here stays.

    A Secret gives the variables that we put into it and no other: who may write to the namespace
    could set PYTHONPATH here.
    """
    values = cluster.settings()
    dataset = earlier_choices(cluster).get("DATASET")
    if dataset:
        values["DATASET"] = dataset
    expected = new_values()
    for name, secret in cluster.secrets(expected).items():
        for key in expected[name].keys() & secret.keys():
            values[key] = secret[key]
    variables = {}
    for name, value in values.items():
        # Secrets, and settings of before 0.2.0, have no prefix.
        if name.lower() in StackSettings.model_fields:
            name = variable(name)  # noqa: PLW2901
        if name == "READMIT_DATASET" and os.environ.get(name):
            continue
        if VARIABLE.fullmatch(name) and name not in ONLY_IN_PODS:
            variables[name] = value
    return variables


def main() -> int:
    """Run Python with the given arguments."""
    try:
        with reached(Cluster(os.environ["CONTEXT"])):
            command = [sys.executable, *sys.argv[1:]]
            return subprocess.run(command, check=False).returncode
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
