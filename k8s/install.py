"""`make k8s-up`: a cluster, images, Secrets, manifests, readiness, batches, training, addresses.

CONTEXT names a context of kubectl; else TOOL (kind, minikube, k3d; default: the first installed) keeps a cluster.
OVERLAY (local) and COMPONENTS ("load-test notebooks") choose the manifests. Images are built and loaded into the nodes
of a cluster of these tools, or pushed to REGISTRY, from where any cluster pulls them; IMAGES=skip does neither.
Every step looks at what is there and does what is missing, so a second run resumes.
"""

import hashlib
import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from httpx import HTTPError
from rich.table import Table

from k8s.cluster import (
    LOCAL,
    NAMESPACE,
    Cluster,
    ClusterFailed,
    as_list,
    find,
    kustomize,
    layers,
    push,
    run,
    wrapper,
)
from k8s.make_secrets import missing
from k8s.reach import reached
from readmit.command import EXPECTED
from readmit.intake import sources
from readmit.intake.source_file import fetch_file
from readmit.settings import ROOT, StackSettings
from stack import pipeline
from stack.airflow_api import Airflow, AirflowFailed
from stack.progress import Progress

SECONDS = 900
# A new pod of Airflow's api-server takes so long on two busy cores.
PATIENCE_SECONDS = 300
# Upstream images: where nothing can be pulled they stay pending, and everything else works without them.
OPTIONAL = {"grafana", "notebook"}
# The Service of each page, the path, and the Secret and key of its password.
PAGES = {
    "Web form": ("ui", "", ""),
    "API": ("api", "/docs", ""),
    "Airflow": ("airflow", "", "airflow-admin AIRFLOW_ADMIN_PASSWORD"),
    "MLflow": ("mlflow", "", "mlflow-admin MLFLOW_TRACKING_PASSWORD"),
    "Docs site": ("docs", "", ""),
    "Grafana": ("grafana", "", "grafana-admin GRAFANA_ADMIN_PASSWORD"),
    "Prometheus": ("prometheus", "", ""),
}
RESTARTED = "statefulsets,daemonsets,deployments"
WORKLOADS = f"jobs,{RESTARTED}"
# Annotations of pods: they are made anew when what they were made of changed, and only then.
MADE_OF = {"configuration": "readmit/configuration", "images": "readmit/images"}
Resource = dict[str, Any]


def up(cluster: Cluster, overlay: str, components: list[str], progress: Progress) -> list[Resource]:
    """Install or upgrade, then publish what is waiting and train until a model is served; returns the manifests."""
    registry = os.environ.get("REGISTRY", "")
    chosen = chosen_settings(StackSettings(), cluster.settings())
    text = kustomize(wrapper(overlay, components, chosen, registry))
    manifests = [each for each in yaml.safe_load_all(text) if each]
    built: dict[str, str] = {}
    if os.environ.get("IMAGES") != "skip":
        with progress.phase("building images and handing them to the cluster"):
            built = images(cluster, text, registry, progress)
    with progress.phase("Secrets and manifests"):
        apply(cluster, manifests, built)
    with progress.phase("waiting for the pods"):
        await_pods(cluster, progress, without={"api"})
    with reached(cluster) as settings:
        run_pipeline(settings, progress)
    with progress.phase("waiting for the API to take up the model"):
        await_pods(cluster, progress, without=set())
    return manifests


def chosen_settings(settings: StackSettings, present: dict[str, str]) -> dict[str, str]:
    """Return what this command line, or an earlier one, tells the pods: a source stays until another is named."""
    dataset = uploaded(settings.dataset) if settings.dataset else present.get("DATASET")
    return {"DATASET": dataset} if dataset else {}


def uploaded(dataset: str) -> str:
    """Return the name under which the ledger knows a source: a file of this machine is not one of the pods'."""
    return dataset if "://" in dataset else f"upload://{Path(dataset).name}"


def images(cluster: Cluster, manifests: str, registry: str, progress: Progress) -> dict[str, str]:
    """Build what the manifests use of ours, and push it to the registry or load it into the nodes.

    Returns what was loaded, by name: the name stays when the content changes. A registry's name means one content.

    Raises:
        ClusterFailed: there is no registry, and no way into the nodes of this cluster.
    """
    used = sorted(set(re.findall(rf"image: ({re.escape(registry or LOCAL)}/\S+)", manifests)))
    if used and not registry and not cluster.tool:
        raise ClusterFailed(
            f"the nodes of {cluster.context} cannot pull {LOCAL}: REGISTRY=host/path builds and pushes the images, "
            "IMAGES=skip when the nodes have them"
        )
    loaded = {}
    for image in used:
        progress.show(image)
        run(
            "bash",
            str(ROOT / "k8s" / "build-images.sh"),
            image.rpartition("/")[2].partition(":")[0],
        )
        if registry:
            push(image)
        else:
            cluster.load([image])
            loaded[image] = layers(image)
    return loaded


def apply(cluster: Cluster, manifests: list[Resource], built: dict[str, str]) -> None:
    """Apply the namespace, missing Secrets, everything; that restarts what reads a changed ConfigMap or image."""
    namespace = [each for each in manifests if each["kind"] == "Namespace"]
    cluster.kubectl("apply", "--filename=-", text=as_list(namespace))
    present = cluster.secrets()
    if wanted := missing(present, present.get("object-store")):
        cluster.kubectl("create", "--filename=-", text=as_list(wanted))
    stamp(manifests, built, cluster.get(RESTARTED))
    cluster.kubectl("delete", "job", "set-up", "--ignore-not-found")  # a Job cannot be changed
    cluster.kubectl("apply", "--filename=-", text=as_list(manifests))


def stamp(manifests: list[Resource], built: dict[str, str], running: list[Resource]) -> None:
    """Write into each pod template what it is made of; of images that were not built now, what is `running` says."""
    data = {
        each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"
    }
    before = {(each["kind"], each["metadata"]["name"]): _annotations(each) for each in running}
    for each in manifests:
        if each["kind"].lower() + "s" not in RESTARTED.split(","):
            continue
        known = before.get((each["kind"], each["metadata"]["name"]), {})
        used = sorted(
            built[found["image"]] for found in _containers(each) if found["image"] in built
        )
        made_of = {
            MADE_OF["configuration"]: _digest(
                {name: data.get(name) for name in _config_maps(each)}
            ),
            MADE_OF["images"]: _digest(used) if used else known.get(MADE_OF["images"]),
        }
        template = each["spec"]["template"]["metadata"]
        template["annotations"] = _annotations(each) | {
            name: value for name, value in made_of.items() if value
        }


def _annotations(workload: Resource) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"].get("annotations", {}))


def _containers(workload: Resource) -> list[Resource]:
    spec = workload["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


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
            mine = [
                pod
                for pod in pods
                if pod["metadata"]["labels"].get("app.kubernetes.io/name") == name
            ]
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
        wanted, updated = (
            status.get("desiredNumberScheduled", 0),
            status.get("updatedNumberScheduled", 0),
        )
        return bool(wanted) and updated == wanted == status.get("numberReady", 0)
    wanted = spec.get("replicas", 1)
    return bool(
        status.get("replicas", 0)
        == status.get("updatedReplicas", 0)
        == status.get("readyReplicas", 0)
        == wanted
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
            raise ClusterFailed(
                f"not ready: {', '.join(waiting)}; kubectl -n {NAMESPACE} describe pods, and logs"
            )
        time.sleep(2)


def run_pipeline(settings: StackSettings, progress: Progress) -> None:
    """The same steps as `make up`: register the source, publish what is waiting, train."""
    airflow = Airflow(settings, patience=PATIENCE_SECONDS)
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
        sources.ensure_source(settings)
    else:
        sources.register_fetched(
            replace(fetch_file(Path(dataset)), name=uploaded(dataset)), settings
        )


def addresses(cluster: Cluster, manifests: list[Resource]) -> Table:
    """Return where each page is and where its password is."""
    table = Table("what", "address", "password of admin", box=None, pad_edge=False)
    places = pages(cluster, manifests)
    for title, (service, path, secret) in PAGES.items():
        name, _, key = secret.partition(" ")
        how = (
            f"kubectl -n {NAMESPACE} get secret {name} -o jsonpath='{{.data.{key}}}' | base64 -d"
            if secret
            else ""
        )
        if service in places:
            table.add_row(title, f"{places[service]}{path}", how)
    return table


def pages(cluster: Cluster, manifests: list[Resource]) -> dict[str, str]:
    """Return where browsers find each Service: at a port of the node, or behind the Ingress."""
    services = [
        each
        for each in manifests
        if each["kind"] == "Service" and each["spec"].get("type") == "NodePort"
    ]
    node = cluster.host() if services else ""
    found = {
        each["metadata"]["name"]: f"http://{node}:{each['spec']['ports'][0]['nodePort']}"
        for each in services
    }
    for each in manifests:
        for rule in each["spec"]["rules"] if each["kind"] == "Ingress" else ():
            found[rule["http"]["paths"][0]["backend"]["service"]["name"]] = (
                f"https://{rule['host']}"
            )
    return found


def main() -> int:
    """Command line of `make k8s-up`."""
    progress, asked = Progress(), os.environ.get
    try:
        cluster = find(asked("CONTEXT", ""), asked("TOOL", ""))
        manifests = up(
            cluster, asked("OVERLAY") or "local", asked("COMPONENTS", "").split(), progress
        )
        progress.console.print(addresses(cluster, manifests))
    except (ClusterFailed, AirflowFailed, HTTPError, *EXPECTED) as error:
        progress.console.print(f"error: {error}", style="red", markup=False)
        progress.console.print(
            "What runs keeps running: `make k8s-up` goes on from here, `make k8s-down`."
        )
        return 1
    progress.console.print(progress.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
