"""What keeps an installation from becoming ready, found before any image is built.

Each problem is one line with the command that helps.
"""

import re
from collections.abc import Iterator

from k8s.cluster import NAMESPACE, Cluster, Resource, answers
from readmit.loopback import is_loopback

DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
MICROK8S = "microk8s.io/cluster"
PRESSURE = {
    "DiskPressure": "free disk there (`crictl rmi --prune` removes unused images)",
    "MemoryPressure": "free memory there, or take a larger node",
    "PIDPressure": "end processes there",
    "NetworkUnavailable": "start its network plugin",
}
UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1.0}
REPLICATED = ("Deployment", "StatefulSet", "DaemonSet")


def problems(cluster: Cluster, manifests: list[Resource]) -> list[str]:
    """Return what the cluster lacks for these manifests."""
    nodes = cluster.get("nodes")
    is_microk8s = any(MICROK8S in node["metadata"].get("labels", {}) for node in nodes)
    lines = [*storage_problems(cluster, manifests, is_microk8s)]
    lines += dns_problems(cluster, is_microk8s)
    usable = []
    node_problems = []
    for node in nodes:
        problem = node_problem(node)
        if problem:
            node_problems.append(problem)
        else:
            usable.append(node)
    if usable:
        lines += room_problems(cluster, usable, manifests)
    else:
        lines += node_problems
    return lines


def storage_problems(
    cluster: Cluster, manifests: list[Resource], is_microk8s: bool
) -> Iterator[str]:
    """Yield a line when claims name no class, are not bound yet, and no class is the default."""
    classes = cluster.get("storageclasses")
    for storage_class in classes:
        annotations = storage_class["metadata"].get("annotations", {})
        if any(annotations.get(name) == "true" for name in DEFAULT_CLASS):
            return
    bound = set()
    for claim in cluster.get("persistentvolumeclaims"):
        if claim.get("status", {}).get("phase") == "Bound":
            bound.add(claim["metadata"]["name"])
    missing = [name for name in claim_names(manifests) if name not in bound]
    if not missing:
        return
    names = [storage_class["metadata"]["name"] for storage_class in classes]
    helps = "install a provisioner, such as rancher/local-path-provisioner"
    if names:
        helps = (
            f"kubectl patch storageclass {names[0]} -p "
            f'\'{{"metadata": {{"annotations": {{"{DEFAULT_CLASS[0]}": "true"}}}}}}\''
        )
    elif is_microk8s:
        helps = "microk8s enable hostpath-storage"
    yield (
        f"the cluster has no default StorageClass, so the claims {', '.join(missing)} would wait"
        f" without end: {helps}"
    )


def claim_names(manifests: list[Resource]) -> list[str]:
    """Return the names of the claims that name no class of their own."""
    names = []
    for resource in manifests:
        name = resource["metadata"]["name"]
        if resource["kind"] == "PersistentVolumeClaim":
            if "storageClassName" not in resource["spec"]:
                names.append(name)
        elif resource["kind"] == "StatefulSet":
            for template in resource["spec"].get("volumeClaimTemplates", []):
                if "storageClassName" not in template["spec"]:
                    names.append(f"{template['metadata']['name']}-{name}-0")
    return names


def dns_problems(cluster: Cluster, is_microk8s: bool) -> Iterator[str]:
    """Yield a line for a MicroK8s without its DNS add-on, which it has only when asked."""
    if not is_microk8s:
        return
    services = cluster.get("services", "--namespace=kube-system")
    if "kube-dns" not in [service["metadata"]["name"] for service in services]:
        yield "the cluster resolves no names of Services: microk8s enable dns"


def node_problem(node: Resource) -> str:
    """Return why nothing can be scheduled on a node, with what helps; empty when it can."""
    name = node["metadata"]["name"]
    if node["spec"].get("unschedulable"):
        return f"node {name} takes no pods: kubectl uncordon {name}"
    for condition in node["status"].get("conditions", []):
        kind = condition["type"]
        if kind == "Ready" and condition["status"] != "True":
            message = condition.get("message", "no reason is given")
            return f"node {name} is not ready ({message}): kubectl describe node {name}"
        if kind in PRESSURE and condition["status"] == "True":
            return f"node {name} has {kind}: {PRESSURE[kind]}"
    return ""


def room_problems(
    cluster: Cluster, nodes: list[Resource], manifests: list[Resource]
) -> Iterator[str]:
    """Yield a line for each of CPU and memory of which the nodes have less than is requested."""
    pods = cluster.get("pods", "--all-namespaces")
    for resource_name, unit, scale in (("cpu", "CPU", 1.0), ("memory", "GiB of memory", 2.0**30)):
        room = sum(quantity(node["status"]["allocatable"][resource_name]) for node in nodes)
        for pod in pods:
            is_ours = pod["metadata"]["namespace"] == NAMESPACE
            if not is_ours and pod["status"].get("phase") in ("Running", "Pending"):
                room -= pod_request(pod["spec"], resource_name)
        needed = requested(manifests, resource_name)
        if needed > room:
            yield (
                f"the pods request {needed / scale:.1f} {unit}, and the nodes have"
                f" {room / scale:.1f} left: add a node, or end other pods"
                " (kubectl top pods --all-namespaces)"
            )


def requested(manifests: list[Resource], resource_name: str) -> float:
    """Return what all pods of the manifests request together, of `cpu` or `memory`."""
    total = 0.0
    for resource in manifests:
        if resource["kind"] in REPLICATED:
            n_pods = resource["spec"].get("replicas", 1)
            total += n_pods * pod_request(resource["spec"]["template"]["spec"], resource_name)
    return total


def pod_request(spec: Resource, resource_name: str) -> float:
    """Return what a pod requests: its containers together."""
    total = 0.0
    for container in spec["containers"]:
        requests = container.get("resources", {}).get("requests", {})
        total += quantity(requests.get(resource_name, "0"))
    return total


def quantity(text: str) -> float:
    """Return a quantity of Kubernetes ("250m", "1Gi") as a number."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if match is None:
        return 0.0
    return float(match[1]) * UNITS.get(match[2], 1.0)


def registry_problem(registry: str, engine: str) -> str:
    """Return why images cannot be pushed to a registry, with what helps; empty when they can."""
    host = registry.partition("/")[0]
    if answers(f"https://{host}/v2/"):
        return ""
    if not answers(f"http://{host}/v2/"):
        helps = "is it up, and is its name right?"
        if host.endswith(":32000"):
            helps = "microk8s enable registry"
        return f"the registry {host} answers neither by HTTPS nor by HTTP: {helps}"
    if engine.endswith("docker") and not is_loopback(host.partition(":")[0]):
        return (
            f'the registry {host} speaks plain HTTP: add it to "insecure-registries" in'
            " /etc/docker/daemon.json and restart Docker"
        )
    return ""
