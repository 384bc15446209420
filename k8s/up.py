"""`make k8s-up`: a cluster, images, Secrets, manifests, readiness, batches, training, addresses.

CONTEXT names a context of kubectl; else TOOL (kind, minikube, k3d; default: the first installed) keeps a cluster.
OVERLAY (local) and COMPONENTS ("load-test notebooks") choose the manifests. Images are built and loaded into the nodes
of a cluster of these tools, or pushed to REGISTRY, from where any cluster pulls them; IMAGES=skip does neither.
Every step looks at what is there and does what is missing, so a second run resumes.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from k8s.cluster import LOCAL, NAMESPACE, Cluster, ClusterFailed, find, kustomize, push, run, wrapper
from k8s.make_secrets import missing
from readmit import ledger, registry
from readmit.download import SourceUnreachable
from readmit.errors import BadData
from readmit.settings import ROOT, BadSetting, StackSettings
from readmit.source import fetch_file
from stack import pipeline
from stack.airflow import Airflow, AirflowFailed
from stack.progress import Progress

SECONDS = 900
# Upstream images: where nothing can be pulled they stay pending, and everything else works without them.
OPTIONAL = {"grafana", "notebook"}
PAGES = {
    "Web form": (30501, "", ""),
    "API": (30800, "/docs", ""),
    "Airflow": (30808, "", "airflow-admin AIRFLOW_ADMIN_PASSWORD"),
    "MLflow": (30500, "", "mlflow-admin MLFLOW_TRACKING_PASSWORD"),
    "Docs site": (30880, "", ""),
    "Grafana": (30300, "", "grafana-admin GRAFANA_ADMIN_PASSWORD"),
    "Prometheus": (30909, "", ""),
}
WORKLOADS = "jobs,statefulsets,daemonsets,deployments"
Resource = dict[str, Any]


def up(cluster: Cluster, overlay: str, components: list[str], progress: Progress) -> None:
    """Install or upgrade, then publish what is waiting and train until a model is served."""
    registry = os.environ.get("REGISTRY", "")
    manifests = kustomize(wrapper(overlay, components, chosen_settings(StackSettings()), registry))
    if os.environ.get("IMAGES") != "skip":
        with progress.phase("building images and handing them to the cluster"):
            images(cluster, manifests, registry, progress)
    with progress.phase("Secrets and manifests"):
        apply(cluster, manifests)
    with progress.phase("waiting for the pods"):
        await_pods(cluster, progress, without={"api"})
    with reached(cluster) as settings:
        run_pipeline(settings, progress)
    with progress.phase("waiting for the API to take up the model"):
        await_pods(cluster, progress, without=set())


def chosen_settings(settings: StackSettings) -> dict[str, str]:
    """Return the settings that this command line sets for the pods."""
    if not settings.dataset:
        return {}
    return {"DATASET": uploaded(settings.dataset)}


def uploaded(dataset: str) -> str:
    """Return the name under which the ledger knows a source: a file of this machine is not one of the pods'."""
    return dataset if "://" in dataset else f"upload://{Path(dataset).name}"


def images(cluster: Cluster, manifests: str, registry: str, progress: Progress) -> None:
    """Build what the manifests use of ours, and push it to the registry or load it into the nodes.

    Raises:
        ClusterFailed: there is no registry, and no way into the nodes of this cluster.
    """
    used = sorted(set(re.findall(rf"image: ({re.escape(registry or LOCAL)}/\S+)", manifests)))
    if used and not registry and not cluster.tool:
        raise ClusterFailed(
            f"the nodes of {cluster.context} cannot pull {LOCAL}: REGISTRY=host/path builds and pushes the images, "
            "IMAGES=skip when the nodes have them"
        )
    for image in used:
        progress.show(image)
        run("bash", str(ROOT / "k8s" / "build-images.sh"), image.rpartition("/")[2].partition(":")[0])
        if registry:
            push(image)
        else:
            cluster.load([image])


def apply(cluster: Cluster, manifests: str) -> None:
    """Apply the namespace, missing Secrets, everything; then restart what reads a ConfigMap that changed."""
    documents = [each for each in yaml.safe_load_all(manifests) if each]
    namespace = [each for each in documents if each["kind"] == "Namespace"]
    cluster.kubectl("apply", "--filename=-", text=yaml.safe_dump_all(namespace))
    present = cluster.secrets()
    if wanted := missing(present, present.get("object-store")):
        cluster.kubectl("create", "--filename=-", text=yaml.safe_dump_all(wanted))
    cluster.kubectl("delete", "job", "set-up", "--ignore-not-found")  # a Job cannot be changed
    said = cluster.kubectl("apply", "--filename=-", text=manifests)
    if restarted := readers(documents, set(re.findall(r"(?m)^configmap/(\S+) configured", said))):
        cluster.kubectl("rollout", "restart", *restarted)


def readers(documents: list[Resource], changed: set[str]) -> list[str]:
    """Return the workloads that read one of the changed ConfigMaps, as kubectl names them."""
    workloads = [each for each in documents if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    return [f"{each['kind'].lower()}/{each['metadata']['name']}" for each in workloads if changed & _config_maps(each)]


def _config_maps(node: object) -> set[str]:
    """Return the names of the ConfigMaps that stand anywhere below a node."""
    found: set[str] = set()
    for key, value in node.items() if isinstance(node, dict) else ():
        if key in ("configMap", "configMapRef", "configMapKeyRef"):
            found.add(str(value["name"]))
        found |= _config_maps(value)
    for value in node if isinstance(node, list) else ():
        found |= _config_maps(value)
    return found


def unready(workloads: list[Resource], pods: list[Resource], without: set[str]) -> list[str]:
    """Return one line per workload that is not complete, with the reason that its pods give."""
    lines = []
    for each in workloads:
        name = each["metadata"]["name"]
        if each["kind"] == "Job" and name != "set-up":
            continue  # a backup that runs, or failed, holds nothing up
        if name not in without | OPTIONAL and not is_complete(each):
            mine = [pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/name") == name]
            reasons = sorted({_reason(pod["status"]) for pod in mine if not _is_ready(pod)})
            lines.append(f"{name} ({', '.join(reasons) or 'no pod yet'})")
    return lines


def is_complete(workload: Resource) -> bool:
    """Tell whether a workload has all its pods, of the version that was applied, and they are ready."""
    spec, status, kind = workload["spec"], workload.get("status", {}), workload["kind"]
    if kind == "Job":
        return bool(status.get("succeeded"))
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if kind == "DaemonSet":
        wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        return bool(wanted) and updated == wanted == status.get("numberReady", 0)
    wanted = spec.get("replicas", 1)
    return bool(
        status.get("replicas", 0) == status.get("updatedReplicas", 0) == status.get("readyReplicas", 0) == wanted
    )


def _is_ready(pod: Resource) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def _reason(status: Resource) -> str:
    for each in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        for state in ("waiting", "terminated"):
            reason = each.get("state", {}).get(state, {}).get("reason", "")
            if reason not in ("", "Completed", "PodInitializing"):
                return str(reason)
    return str(status.get("phase", "unknown"))


def await_pods(cluster: Cluster, progress: Progress, without: set[str]) -> None:
    """Wait until every workload is complete and say which are not.

    Raises:
        ClusterFailed: some are not after a quarter of an hour; the message names them and where to look.
    """
    deadline = time.monotonic() + SECONDS
    while waiting := unready(cluster.get(WORKLOADS), cluster.get("pods"), without):
        progress.show("waiting for " + ", ".join(waiting))
        if time.monotonic() > deadline:
            raise ClusterFailed(f"not ready: {', '.join(waiting)}; kubectl -n {NAMESPACE} describe pods, and logs")
        time.sleep(2)


@contextmanager
def reached(cluster: Cluster) -> Iterator[StackSettings]:
    """Give settings that reach the cluster's parts through forwarded ports, with the cluster's passwords."""
    secrets = {key: value for each in cluster.secrets().values() for key, value in each.items()}
    known: dict[str, Any] = {
        key.lower(): value for key, value in secrets.items() if key.lower() in StackSettings.model_fields
    }
    with ExitStack() as stack:
        ports = {"postgres": 5432, "s3": 8333, "mlflow": 5000, "airflow": 8080}
        local = {name: stack.enter_context(cluster.forwarded(name, port)) for name, port in ports.items()}
        login = f"admin:{secrets['MLFLOW_TRACKING_PASSWORD']}"
        known |= {"postgres_host": "127.0.0.1", "postgres_port": local["postgres"], "airflow_port": local["airflow"]}
        known |= {"s3_endpoint_url": f"http://127.0.0.1:{local['s3']}"}
        known |= {"mlflow_tracking_uri": f"http://{login}@127.0.0.1:{local['mlflow']}"}
        yield StackSettings(**known)


def run_pipeline(settings: StackSettings, progress: Progress) -> None:
    """The same steps as `make up`: register the source, publish what is waiting, train."""
    airflow = Airflow(settings)
    with progress.phase("reading the source file"):
        register(settings)
    with progress.phase("reading the DAG files"):
        pipeline.unpause(airflow, progress.show)
    with progress.phase("publishing batches"):
        published = pipeline.publish_waiting(airflow, settings, progress.show)
    with progress.phase("training"):
        pipeline.train(airflow, settings, progress.show, published)


def register(settings: StackSettings) -> None:
    """Register the source from here, through the forwarded ports."""
    dataset = settings.dataset or ""
    if not dataset or "://" in dataset:
        ledger.ensure_source(settings)
    else:
        registry.register_fetched(replace(fetch_file(Path(dataset)), name=uploaded(dataset)), settings)


def addresses(cluster: Cluster) -> Table:
    """Return the addresses of the local overlay and where each password is."""
    host = cluster.host()
    table = Table("what", "address", "password of admin", box=None, pad_edge=False)
    for title, (port, path, secret) in PAGES.items():
        name, _, key = secret.partition(" ")
        how = f"kubectl -n {NAMESPACE} get secret {name} -o jsonpath='{{.data.{key}}}' | base64 -d" if secret else ""
        table.add_row(title, f"http://{host}:{port}{path}", how)
    return table


def main() -> int:
    """Command line of `make k8s-up`."""
    progress, asked = Progress(), os.environ.get
    try:
        cluster = find(asked("CONTEXT", ""), asked("TOOL", ""))
        up(cluster, asked("OVERLAY") or "local", asked("COMPONENTS", "").split(), progress)
    except (ClusterFailed, BadSetting, AirflowFailed, BadData, SourceUnreachable) as error:
        progress.console.print(f"error: {error}", style="red", markup=False)
        progress.console.print("What runs keeps running: `make k8s-up` goes on from here, `make k8s-down`.")
        return 1
    progress.console.print(addresses(cluster))
    progress.console.print(progress.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
