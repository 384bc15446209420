"""Commands of this machine on a cluster: `make rollback CONTEXT=name`, `submit`, `quarantine`, `poison`, `pipeline`.

`CONTEXT=name python -m k8s.reach -m training.rollback` gives the command what the parts themselves are told: their
settings and passwords, with addresses that lead to them through forwarded ports. A part that is outside of the cluster
has no Service, and is asked where the settings say.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from k8s.cluster import Cluster, ClusterFailed
from readmit.settings import StackSettings

# Variables that say where a part is, by its Service and port.
FORWARDED: dict[str, tuple[int, dict[str, str]]] = {
    "postgres": (5432, {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "{port}"}),
    "s3": (
        8333,
        dict.fromkeys(("S3_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"), "http://127.0.0.1:{port}"),
    ),
    "mlflow": (5000, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:{port}"}),
    "airflow": (8080, {"AIRFLOW_PORT": "{port}"}),
    "pushgateway": (9091, {"PUSHGATEWAY_URL": "http://127.0.0.1:{port}"}),
}
# What means something in a pod only.
OF_PODS = {"READMIT_HOME"}
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


@contextmanager
def reached(cluster: Cluster) -> Iterator[StackSettings]:
    """Have the environment of the cluster's parts while the block runs; gives the settings that are read from it.

    Raises:
        ClusterFailed: a part cannot be reached.
    """
    with ExitStack() as stack:
        stack.callback(_restore, dict(os.environ))
        os.environ.update(told(cluster))
        present = {found["metadata"]["name"] for found in cluster.get("services")}
        for name, (port, variables) in FORWARDED.items():
            if name in present:
                local = stack.enter_context(cluster.forwarded(name, port))
                os.environ.update(
                    {key: value.format(port=local) for key, value in variables.items()}
                )
        yield StackSettings()


def _restore(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def told(cluster: Cluster) -> dict[str, str]:
    """Return settings and passwords of the parts, as variables; this command line's own DATASET stays."""
    known = cluster.settings() | {
        key: value for each in cluster.secrets().values() for key, value in each.items()
    }
    kept = OF_PODS | ({"DATASET"} if os.environ.get("DATASET") else set())
    return {
        key: value for key, value in known.items() if VARIABLE.fullmatch(key) and key not in kept
    }


def main() -> int:
    """Command line: the words after it are for Python."""
    try:
        with reached(Cluster(os.environ["CONTEXT"])):
            return subprocess.run([sys.executable, *sys.argv[1:]], check=False).returncode
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
