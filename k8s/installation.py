"""What a person chose for this installation: kept in a ConfigMap that no overlay renders.

`kubectl apply -k`, Argo CD and Flux apply what the overlay says. A source file that stood in the
rendered ConfigMap `settings` would be gone with their next pass, and the DAG would fetch the public
file beside the hospital's rows. So the choices have an object of their own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from k8s.cluster import NAMESPACE, Cluster, Resource, as_list

CONFIG_MAP = "installation"
# Flux takes back what managers named `kubectl...` have changed, and leaves this one's fields alone.
FIELD_MANAGER = "k8s-up"
# Takes an earlier choice of components or a registry back.
NONE = "none"


@dataclass(frozen=True)
class Choices:
    """The source file, and which manifests are applied."""

    dataset: str = ""
    overlay: str = "local"
    components: str = ""
    registry: str = ""


def choose(variables: Mapping[str, str], earlier: Mapping[str, str]) -> Choices:
    """Return the choices of the caller; what the caller does not name stays as it was.

    Args:
        variables: DATASET, OVERLAY, COMPONENTS and REGISTRY, as far as the caller names them.
        earlier: the same of the last installation.
    """
    values = {}
    for name, default in asdict(Choices()).items():
        variable = name.upper()
        value = variables.get(variable) or earlier.get(variable) or default
        if value == NONE and name in ("components", "registry"):
            value = ""
        values[name] = value
    values["dataset"] = uploaded(values["dataset"])
    return Choices(**values)


def uploaded(dataset: str) -> str:
    """Return the name of a source in the ledger.

    A path of this machine means nothing to the pods.
    """
    if not dataset or "://" in dataset:
        return dataset
    return f"upload://{Path(dataset).name}"


def earlier_choices(cluster: Cluster) -> dict[str, str]:
    """Return the choices of the last installation; empty on a new cluster.

    Earlier releases kept the source in the ConfigMap `settings`.
    """
    choices = {}
    dataset = cluster.settings().get("DATASET")
    if dataset:
        choices["DATASET"] = dataset
    return choices | cluster.config_map(CONFIG_MAP)


def config_map(choices: Choices) -> Resource:
    """Return the ConfigMap of the choices.

    It has no label of ours: `kubectl apply --prune` by that label leaves it.
    """
    data = {name.upper(): value for name, value in asdict(choices).items() if value}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
        "data": data,
    }


def keep(cluster: Cluster, choices: Choices) -> None:
    """Write the choices into the cluster, without kubectl's record of what was applied."""
    options = ["--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"]
    cluster.kubectl("apply", *options, "--filename=-", text=as_list([config_map(choices)]))
