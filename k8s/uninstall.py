"""`make k8s-down`: remove the cluster of `make k8s-up`, or our namespace of the given CONTEXT.

It asks before (YES=1 for scripts). The volume of the backups stays, unless BACKUPS=delete says
otherwise. What does not carry our label is not touched.
"""

import json
import os
import shutil
import sys

from k8s.cluster import (
    CLUSTER,
    NAMESPACE,
    TOOLS,
    Cluster,
    ClusterFailed,
    context_of,
    exists,
    run,
)
from readmit.confirmation import NotConfirmed, confirm

LABEL = "app.kubernetes.io/part-of"
CLAIM = "backups"
DELETE = {
    "kind": ("kind", "delete", "cluster", f"--name={CLUSTER}"),
    "minikube": ("minikube", "delete", f"--profile={CLUSTER}"),
    "k3d": ("k3d", "cluster", "delete", CLUSTER),
}


def remove(context: str, tool: str, with_backups: bool) -> str:
    """Remove the cluster that a tool made, or our namespace with its state from a given context.

    Returns:
        A line that says what is gone.

    Raises:
        ClusterFailed: the cluster or the namespace is not ours, or the backups cannot be kept.
        NotConfirmed: nobody agreed; nothing was deleted.
    """
    if context:
        return _remove_namespace(Cluster(context), with_backups)
    for candidate in [tool] if tool else TOOLS:
        if shutil.which(candidate) and exists(candidate):
            return _remove_cluster(candidate, with_backups)
    return "there was no cluster of ours"


def _remove_namespace(cluster: Cluster, with_backups: bool) -> str:
    if not _has_our_namespace(cluster):
        return f"there was no namespace {NAMESPACE} in {cluster.context}"
    volume = _volume_of_backups(cluster)
    outcome = "with its volumes"
    if volume and with_backups:
        outcome += ", the backups too"
    elif volume:
        outcome += f"; the volume {volume} of the backups stays"
    confirm(f"This deletes the namespace {NAMESPACE} of {cluster.context}, {outcome}.")
    if volume and not with_backups:
        # The volume must outlive its claim. Stop when the cluster does not confirm it.
        patch = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
        cluster.kubectl("patch", "pv", volume, f"--patch={json.dumps(patch)}")
        policy = cluster.kubectl(
            "get", "pv", volume, "--output=jsonpath={.spec.persistentVolumeReclaimPolicy}"
        )
        if policy.strip() != "Retain":
            raise ClusterFailed(
                f"the volume {volume} of the backups cannot be kept: nothing was deleted;"
                " BACKUPS=delete deletes it too"
            )
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    return f"the namespace {NAMESPACE} of {cluster.context} is gone, {outcome}"


def _remove_cluster(tool: str, with_backups: bool) -> str:
    """Remove a cluster with all its volumes: none of them can outlive it."""
    cluster = Cluster(context_of(tool), tool)
    if not _has_our_namespace(cluster):
        raise ClusterFailed(
            f"the {tool} cluster {CLUSTER} has no namespace {NAMESPACE}, so it was not made by"
            f" `make k8s-up`: delete it by `{' '.join(DELETE[tool])}`"
        )
    if _volume_of_backups(cluster) and not with_backups:
        raise ClusterFailed(
            f"the {tool} cluster {CLUSTER} has backups, which go with it: copy them elsewhere"
            " (docs/kubernetes.md), then say BACKUPS=delete"
        )
    confirm(f"This deletes the {tool} cluster {CLUSTER} with all its volumes.")
    run(*DELETE[tool])
    return f"the {tool} cluster {CLUSTER} is gone"


def _has_our_namespace(cluster: Cluster) -> bool:
    """Return whether there is a namespace of ours.

    Raises:
        ClusterFailed: there is one with our name, but without our label.
    """
    output = cluster.kubectl(
        "get", "namespace", NAMESPACE, "--ignore-not-found", "--output=json"
    ).strip()
    if not output:
        return False
    labels = json.loads(output)["metadata"].get("labels", {})
    if labels.get(LABEL) != NAMESPACE:
        raise ClusterFailed(
            f"the namespace {NAMESPACE} of {cluster.context} has no label"
            f" {LABEL}={NAMESPACE}, so it is not ours: nothing was deleted"
        )
    return True


def _volume_of_backups(cluster: Cluster) -> str:
    """Return the name of the volume that holds the backups, or an empty text."""
    output = cluster.kubectl("get", "pvc", CLAIM, "--ignore-not-found", "--output=json").strip()
    if not output:
        return ""
    return str(json.loads(output)["spec"].get("volumeName", ""))


def main() -> int:
    """Command line."""
    try:
        with_backups = os.environ.get("BACKUPS") == "delete"
        print(remove(os.environ.get("CONTEXT", ""), os.environ.get("TOOL", ""), with_backups))
    except (ClusterFailed, NotConfirmed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
