"""`make k8s-up`: a cluster, images, Secrets, manifests, readiness, batches, training, addresses.

CONTEXT names a context of kubectl; else TOOL (kind, minikube, k3d; default: the first installed)
keeps a cluster.
OVERLAY (local) and COMPONENTS ("load-test notebooks") choose the manifests. Images
are built and loaded into the nodes of a cluster of these tools, or pushed to REGISTRY, from where
any cluster pulls them; IMAGES=skip does neither. Every step does only what is missing, so a second
run resumes, with the choices of the last one (`k8s.installation`).
"""

import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import yaml
from httpx import HTTPError
from rich.table import Table

from k8s import cluster_checks, installation
from k8s.cluster import (
    NAMESPACE,
    Cluster,
    ClusterFailed,
    Resource,
    as_list,
    container_engine,
    find,
    layers,
    push,
    run,
)
from k8s.installation import Choices
from k8s.make_secrets import missing, outdated, secret_names
from k8s.overlays import LOCAL_REGISTRY, kustomize, write_overlay
from k8s.pod_reasons import reason
from k8s.pod_stamps import KINDS, stamp
from k8s.reach import reached
from readmit.command import EXPECTED
from readmit.intake import sources
from readmit.intake.source_file import fetch_file
from readmit.settings import ROOT, StackSettings
from stack import pipeline
from stack.airflow_api import Airflow, AirflowFailed
from stack.outcomes import count_published, stop_if_all_rejected, summary
from stack.progress import Progress

SECONDS_FOR_ROLLOUT = 900
SECONDS_PER_LOOK = 10  # so old the reason in the waiting line may be
# An upstream image: where nothing can be pulled it stays pending, and everything else works without
# it.
OPTIONAL = {"grafana"}
# The name of each page, the path, and the Secret and key of its password (the API's key).
LOGIN = "login-proxy PROXY_PASSWORD"
PAGES = {
    "Web form": ("ui", "", LOGIN),
    "API": ("api", "/docs", "api-keys API_KEY"),
    "Airflow": ("airflow", "", "airflow-admin AIRFLOW_ADMIN_PASSWORD"),
    "MLflow": ("mlflow", "", "mlflow-admin MLFLOW_TRACKING_PASSWORD"),
    "Docs site": ("docs", "", LOGIN),
    "Grafana": ("grafana", "", "grafana-admin GRAFANA_ADMIN_PASSWORD"),
    "Prometheus": ("prometheus", "", LOGIN),
}
SET_UP = "set-up"
NAME = "app.kubernetes.io/name"
API = "deployment/api"
OBJECT_STORE = "statefulset/s3"
RESTARTED = ",".join(f"{kind.lower()}s" for kind in KINDS)


def up(cluster: Cluster, choices: Choices, progress: Progress) -> list[Resource]:
    """Install or upgrade, publish waiting batches, train until a model is served.

    Returns the manifests.
    """
    components = choices.components.split()
    text = kustomize(write_overlay(choices.overlay, components, choices.registry))
    manifests = [resource for resource in yaml.safe_load_all(text) if resource]
    with progress.phase("checking the cluster"):
        check(cluster, manifests, choices.registry, progress)
    built: dict[str, str] = {}
    if os.environ.get("IMAGES") != "skip":
        with progress.phase("building images and handing them to the cluster"):
            built = build_images(cluster, text, choices.registry, progress)
    with progress.phase("Secrets and manifests"):
        apply(cluster, manifests, built, choices)
    workloads = workload_names(manifests)
    with progress.phase("waiting for the pods"):
        without_api = [name for name in workloads if name != API]  # ready with a model only
        await_workloads(cluster, without_api, progress)
    with reached(cluster) as cluster_settings:
        run_pipeline(cluster_settings, progress)
    with progress.phase("waiting for the API to load the model"):
        await_workloads(cluster, workloads, progress)
    return manifests


def check(cluster: Cluster, manifests: list[Resource], registry: str, progress: Progress) -> None:
    """Look for what would keep the installation from becoming ready, before images are built.

    Raises:
        ClusterFailed: there is something; each line has the command that helps.
    """
    try:
        lines = cluster_checks.problems(cluster, manifests)
    except ClusterFailed as error:
        if "forbidden" not in str(error).lower():
            raise
        progress.console.print(f"not checked, since you may not look: {error}", markup=False)
        lines = []
    if registry and os.environ.get("IMAGES") != "skip":
        problem = cluster_checks.registry_problem(registry, container_engine())
        if problem:
            lines.append(problem)
    if lines:
        raise ClusterFailed("\n".join(lines))


def build_images(
    cluster: Cluster, manifests: str, registry: str, progress: Progress
) -> dict[str, str]:
    """Build our images that the manifests use; push them or load them into the nodes.

    Returns:
        The layers of each image that was loaded, by name: the name stays when the content changes.
        Empty with a registry, where a name means one content.

    Raises:
        ClusterFailed: there is no registry, and no way into the nodes of this cluster.
    """
    pattern = rf"image: ({re.escape(registry or LOCAL_REGISTRY)}/\S+)"
    images = sorted(set(re.findall(pattern, manifests)))
    if images and not registry and not cluster.tool:
        raise ClusterFailed(
            f"the nodes of {cluster.context} cannot pull {LOCAL_REGISTRY}: REGISTRY=host/path"
            " builds and pushes the "
            "images (MicroK8s: microk8s enable registry, REGISTRY=localhost:32000/readmit),"
            " IMAGES=skip when the nodes have them"
        )
    loaded = {}
    for image in images:
        progress.show(image)
        name = image.rpartition("/")[2].partition(":")[0]
        run("bash", str(ROOT / "k8s" / "build-images.sh"), name)
        if registry:
            push(image)
        else:
            cluster.load(image)
            loaded[image] = layers(image)
    return loaded


def apply(
    cluster: Cluster, manifests: list[Resource], built: dict[str, str], choices: Choices
) -> None:
    """Apply the namespace, missing and outdated Secrets, the choices, then everything.

    Pods that read a changed ConfigMap or run a changed image are replaced. kubectl's record of what
    was applied is that of the overlay alone, so `kubectl apply -k` finds nothing to change.
    """
    for resource in manifests:
        resource["metadata"].setdefault("annotations", {})  # so kubectl records it when it applies
    rendered = as_list(manifests)
    namespace = [resource for resource in manifests if resource["kind"] == "Namespace"]
    cluster.kubectl("apply", "--filename=-", text=as_list(namespace))
    present = cluster.secrets(secret_names())
    new_secrets = missing(present)
    if new_secrets:
        cluster.kubectl("create", "--filename=-", text=as_list(new_secrets))
    for secret in new_secrets:
        present[secret["metadata"]["name"]] = secret["stringData"]
    outdated_secrets = outdated(present)
    if outdated_secrets:
        cluster.kubectl("replace", "--filename=-", text=as_list(outdated_secrets))
    installation.keep(cluster, choices)
    stamp(manifests, built, cluster.get(RESTARTED))
    cluster.kubectl("delete", "job", SET_UP, "--ignore-not-found")  # a Job cannot be changed
    manager = f"--field-manager={installation.FIELD_MANAGER}"
    cluster.kubectl("apply", manager, "--filename=-", text=as_list(manifests))
    cluster.kubectl("apply", "set-last-applied", "--filename=-", text=rendered)
    if outdated_secrets and OBJECT_STORE in workload_names(manifests):
        cluster.kubectl("rollout", "restart", OBJECT_STORE)  # it reads its file at its start


def workload_names(manifests: list[Resource]) -> list[str]:
    """Return the names of what must be ready, for kubectl; the Job `set-up` comes first."""
    names = [f"job/{SET_UP}"]
    for resource in manifests:
        name = resource["metadata"]["name"]
        if resource["kind"] in KINDS and name not in OPTIONAL:
            names.append(f"{resource['kind'].lower()}/{name}")
    return names


def await_workloads(cluster: Cluster, workloads: list[str], progress: Progress) -> None:
    """Wait until all pods of the workloads are of the applied version and ready.

    Raises:
        ClusterFailed: one is not ready after a quarter of an hour; the message has its pods' state.
    """
    deadline = time.monotonic() + SECONDS_FOR_ROLLOUT
    for workload in workloads:
        kind, _, name = workload.partition("/")
        command = ["rollout", "status", workload]
        if kind == "job":
            command = ["wait", "--for=condition=complete", workload]
        news = ""
        while True:
            progress.show(f"waiting for {workload}{news}")
            seconds = min(SECONDS_PER_LOOK, max(1, round(deadline - time.monotonic())))
            try:
                cluster.kubectl(*command, f"--timeout={seconds}s")
                break
            except ClusterFailed as error:
                why = reason(cluster.get("pods", f"--selector={NAME}={name}"))
                news = f": {why}" if why else ""
                is_late = re.search("timed out|context deadline exceeded", str(error))
                if is_late and time.monotonic() < deadline:
                    continue
                selector = f"--selector={NAME}={name}"
                pods = cluster.kubectl("get", "pods", selector, "--no-headers").strip()
                raise ClusterFailed(
                    f"{workload} is not ready: {pods or 'it has no pod'}{news}; "
                    f"kubectl -n {NAMESPACE} describe pods, and logs"
                ) from error


def run_pipeline(settings: StackSettings, progress: Progress) -> None:
    """Run the steps of `make up`: register the source, publish what is waiting, train."""
    airflow = Airflow(settings)
    with progress.phase("reading the source file"):
        register(settings)
    with progress.phase("reading the DAG files"):
        pipeline.unpause(airflow, progress.show)
    with progress.phase("publishing batches"):
        outcomes = pipeline.publish_waiting(airflow, settings, progress.show)
    stop_if_all_rejected(outcomes, settings, progress.console)
    with progress.phase("training"):
        training = pipeline.train(airflow, settings, progress.show, count_published(outcomes))
    if training is not None:
        with progress.phase("sealed test and learning curve"):
            pipeline.finish_training(airflow, training, progress.show)
    progress.console.print(summary(outcomes))


def register(settings: StackSettings) -> None:
    """Register the source from here, through the forwarded ports."""
    dataset = settings.dataset or ""
    if not dataset or "://" in dataset:
        sources.ensure_source(settings)
    else:
        fetched = replace(fetch_file(Path(dataset)), name=installation.uploaded(dataset))
        sources.register_fetched(fetched, settings, expected_sha256=settings.dataset_sha256)


def addresses(cluster: Cluster, manifests: list[Resource]) -> Table:
    """Return a table of the pages: the address, and the command that prints its password."""
    table = Table("page", "address", "password", box=None, pad_edge=False)
    address_of = pages(cluster, manifests)
    for title, (page, path, secret) in PAGES.items():
        if page not in address_of:
            continue
        name, key = secret.split()
        command = f"kubectl -n {NAMESPACE} get secret {name} "
        command += f"-o jsonpath='{{.data.{key}}}' | base64 -d"
        table.add_row(title, f"{address_of[page]}{path}", command)
    return table


def pages(cluster: Cluster, manifests: list[Resource]) -> dict[str, str]:
    """Return where browsers find each page: at a port of the node, or behind the Ingress.

    Both lead to the log-in proxy, whose ports have the names of the pages.
    """
    address_of = {}
    proxy = find_service(manifests, "login-proxy")
    port_names = {port["port"]: port["name"] for port in proxy["spec"]["ports"]}
    for resource in manifests:
        if resource["kind"] == "Ingress":
            for rule in resource["spec"]["rules"]:
                backend = rule["http"]["paths"][0]["backend"]["service"]
                address_of[port_names[backend["port"]["number"]]] = f"https://{rule['host']}"
    if proxy["spec"].get("type") == "NodePort":
        node = cluster.host()
        for port in proxy["spec"]["ports"]:
            address_of[port["name"]] = f"http://{node}:{port['nodePort']}"
    return address_of


def find_service(manifests: list[Resource], name: str) -> Resource:
    """Return a Service by its name."""
    for resource in manifests:
        if resource["kind"] == "Service" and resource["metadata"]["name"] == name:
            return resource
    raise ClusterFailed(f"the overlay has no Service {name}: its components lack {name}")


def main() -> int:
    """Command line of `make k8s-up`."""
    progress = Progress()
    try:
        cluster = find(os.environ.get("CONTEXT", ""), os.environ.get("TOOL", ""))
        variables = dict(os.environ, DATASET=StackSettings().dataset or "")
        choices = installation.choose(variables, installation.earlier_choices(cluster))
        manifests = up(cluster, choices, progress)
        progress.console.print(addresses(cluster, manifests))
        progress.console.print(
            "The log-in proxy knows the user `readmit`, Airflow (behind it), MLflow and Grafana"
            " the user `admin`; the API takes its key as X-API-Key."
        )
    except (ClusterFailed, AirflowFailed, HTTPError, *EXPECTED) as error:
        progress.error(str(error))
        progress.console.print(
            "The pods keep running: `make k8s-up` resumes, `make k8s-down` removes them."
        )
        return 1
    progress.console.print(progress.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
