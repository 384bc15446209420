"""Why a pod does not run: what the scheduler or the kubelet says about it."""

from collections.abc import Iterator

from k8s.cluster import NAMESPACE, Resource

# What to do, by a part of the reason.
HELPS = {
    "PersistentVolumeClaim": "kubectl get storageclass: one must be the default",
    "persistentvolumeclaim": "kubectl get storageclass: one must be the default",
    "Insufficient": "add a node or a larger one; other pods: kubectl top pods --all-namespaces",
    "disk-pressure": "free disk on the node (crictl rmi --prune)",
    "memory-pressure": "free memory on the node",
    "low on resource": "free disk or memory on the node",
    "HTTP response to HTTPS client": "the node must trust the registry: a hosts.toml for it in"
    " /etc/containerd/certs.d (kind, k3s and MicroK8s have one for localhost)",
    "OOMKilled": "a larger memory limit",
}


def reason(pods: list[Resource]) -> str:
    """Return the first reason why one of the pods does not run, and what helps; else empty."""
    for pod in pods:
        for text in reasons_of(pod):
            for part, helps in HELPS.items():
                if part in text:
                    return f"{text} ({helps})"
            return text
    return ""


def reasons_of(pod: Resource) -> Iterator[str]:
    """Yield why the pod was evicted or not scheduled, then why each container waits."""
    status = pod["status"]
    if "reason" in status:
        yield ": ".join(filter(None, [status["reason"], status.get("message")]))
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield condition.get("message") or condition.get("reason", "it is not scheduled")
    containers = [
        *status.get("initContainerStatuses", []),
        *status.get("containerStatuses", []),
    ]
    for container in containers:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in (None, "PodInitializing", "ContainerCreating"):
            continue
        died = container.get("lastState", {}).get("terminated", {})
        text = ": ".join(filter(None, [waiting["reason"], waiting.get("message")]))
        if died:
            text += f", it ended with {died.get('exitCode')} {died.get('reason', '')}"
            text += f": kubectl -n {NAMESPACE} logs --previous {pod['metadata']['name']}"
        yield f"{container['name']}: {text}"
