"""A Kubernetes cluster as `make k8s-up` uses it: kubectl on one context, images into its nodes, forwarded ports."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from readmit.settings import ROOT

NAMESPACE = "readmit"
CLUSTER = "readmit"
LOCAL = "localhost/readmit"
WORKER_IMAGE = "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY"
TOOLS = ("kind", "minikube", "k3d")
NODE_PORTS = (30501, 30800, 30808, 30500, 30880, 30300, 30909)
DELETE = {
    "kind": ("kind", "delete", "cluster", f"--name={CLUSTER}"),
    "minikube": ("minikube", "delete", f"--profile={CLUSTER}"),
    "k3d": ("k3d", "cluster", "delete", CLUSTER),
}
# kubectl ends with the pod that it forwards to; the next one takes its place, for as long as our process is there.
KEPT = """
alive() { kill -0 "$1" 2>/dev/null; }
while alive $PPID; do
    "$@" &
    while alive $PPID && alive $!; do sleep 1; done
    kill $! 2>/dev/null
done
"""
SECONDS_FOR_PORT = 60.0


class ClusterFailed(Exception):
    """A command against the cluster failed; the message holds what it said and what to do."""


def as_list(resources: list[dict[str, Any]]) -> str:
    """Return resources as text for kubectl: in JSON, where a text that looks like a number (12e3) stays a text."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": resources})


def run(*words: str, text: str | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        ClusterFailed: it is missing or it failed.
    """
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterFailed(f"{words[0]} is not installed; docs/kubernetes.md says how") from error
    if done.returncode != 0:
        raise ClusterFailed(
            f"{' '.join(words[:4])}: {(done.stderr or done.stdout).strip()[-1500:]}"
        )
    return done.stdout


@dataclass(frozen=True)
class Cluster:
    """A context of kubectl, the tool that made its cluster (empty when it is none that we know), and its name there."""

    context: str
    tool: str = ""
    name: str = CLUSTER

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """Run kubectl on this context, in our namespace."""
        return run(
            "kubectl", f"--context={self.context}", f"--namespace={NAMESPACE}", *words, text=text
        )

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Return the resources of a kind."""
        return list(json.loads(self.kubectl("get", *words, "--output=json"))["items"])

    def secrets(self) -> dict[str, dict[str, str]]:
        """Return our Secrets in clear, by name."""
        return {
            found["metadata"]["name"]: {
                key: base64.b64decode(value).decode()
                for key, value in found.get("data", {}).items()
            }
            for found in self.get("secrets")
        }

    def settings(self) -> dict[str, str]:
        """Return what the parts are told: their ConfigMap `settings`; empty before the first installation."""
        found = self.kubectl("get", "configmap", "settings", "--ignore-not-found", "--output=json")
        return dict(json.loads(found)["data"]) if found.strip() else {}

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """Forward a free port of this machine to a service while the block runs, whichever pod is behind it.

        Raises:
            ClusterFailed: the service cannot be reached.
        """
        local = _free_port()
        words = ["kubectl", f"--context={self.context}", f"--namespace={NAMESPACE}", "port-forward"]
        words += ["--address=127.0.0.1", f"service/{service}", f"{local}:{port}"]
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(
                ["sh", "-c", KEPT, "sh", *words], stdout=said, stderr=said, start_new_session=True
            ) as process,
        ):
            try:
                if not _listens(local):
                    said.seek(0)
                    raise ClusterFailed(f"no port to {service}: {said.read().strip()[-300:]}")
                yield local
            finally:
                os.killpg(process.pid, signal.SIGTERM)

    def host(self) -> str:
        """Return the address at which the node's ports are reached from this machine."""
        if self.tool in ("kind", "k3d") and self.name == CLUSTER:
            return "127.0.0.1"  # `_create` published the ports
        if self.tool == "minikube":
            return run("minikube", "ip", f"--profile={self.name}").strip()
        known = {
            each["type"]: each["address"]
            for node in self.get("nodes")
            for each in node["status"]["addresses"]
        }
        return str(known.get("ExternalIP") or known.get("InternalIP") or "127.0.0.1")

    def load(self, images: list[str]) -> None:
        """Put images of this machine into the nodes."""
        engine = container_engine()
        with tempfile.TemporaryDirectory() as folder:
            for image in images:
                archive = str(Path(folder) / "image.tar")
                run(engine, "save", "--output", archive, image)
                self._load_archive(archive)
                Path(archive).unlink()

    def _load_archive(self, archive: str) -> None:
        if self.tool == "kind":
            run("kind", "load", "image-archive", archive, f"--name={self.name}")
        elif self.tool == "minikube":
            run("minikube", "image", "load", archive, f"--profile={self.name}")
        elif self.tool == "k3d":
            run("k3d", "image", "import", archive, f"--cluster={self.name}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    deadline = time.monotonic() + SECONDS_FOR_PORT
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def layers(image: str) -> str:
    """Return what tells the content of an image of this machine; labels, which name each commit, are no content."""
    return run(
        container_engine(), "image", "inspect", "--format={{json .RootFS.Layers}}", image
    ).strip()


def push(image: str) -> None:
    """Push an image of this machine to the registry that its name says."""
    run(container_engine(), "push", image)


def container_engine() -> str:
    """Return docker or podman, whichever works; ENGINE decides when it is set."""
    for engine in filter(None, (os.environ.get("ENGINE"), "docker", "podman")):
        if (
            shutil.which(engine)
            and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0
        ):
            return engine
    raise ClusterFailed("neither docker nor podman works here: install one, or set ENGINE")


def find(context: str, tool: str) -> Cluster:
    """Return the cluster to use: a given context, or one that `tool` (or the first one installed) keeps or makes.

    Raises:
        ClusterFailed: there is neither.
    """
    if context:
        return Cluster(context, *_made_by(context))
    chosen = tool or next((each for each in TOOLS if shutil.which(each)), "")
    if chosen not in TOOLS:
        raise ClusterFailed(
            "no cluster: install kind, minikube or k3d, or name one of kubectl's contexts by CONTEXT="
        )
    if not _exists(chosen):
        _create(chosen)
    return Cluster(
        {"kind": f"kind-{CLUSTER}", "k3d": f"k3d-{CLUSTER}", "minikube": CLUSTER}[chosen], chosen
    )


def _made_by(context: str) -> tuple[str, str]:
    """Return the tool, when it is here, and the name of the cluster of a given context, by the tool's own naming."""
    for tool in ("kind", "k3d"):
        if context.startswith(f"{tool}-") and shutil.which(tool):
            return tool, context.removeprefix(f"{tool}-")
    if shutil.which("minikube") and context in _profiles():
        return "minikube", context
    return "", CLUSTER


def _exists(tool: str) -> bool:
    if tool == "kind":
        return CLUSTER in run("kind", "get", "clusters").split()
    if tool == "k3d":
        return any(
            each["name"] == CLUSTER
            for each in json.loads(run("k3d", "cluster", "list", "--output=json"))
        )
    return CLUSTER in _profiles()


def _profiles() -> set[str]:
    listed = json.loads(run("minikube", "profile", "list", "--output=json"))
    return {each["Name"] for each in listed.get("valid", [])}


def _create(tool: str) -> None:
    if tool == "kind":
        mapped = [
            {"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"}
            for port in NODE_PORTS
        ]
        node = {"role": "control-plane", "extraPortMappings": mapped}
        text = yaml.safe_dump(
            {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}
        )
        run("kind", "create", "cluster", f"--name={CLUSTER}", "--config=-", text=text)
    elif tool == "k3d":
        published = [f"--port=127.0.0.1:{port}:{port}@server:0" for port in NODE_PORTS]
        run("k3d", "cluster", "create", CLUSTER, "--k3s-arg=--disable=traefik@server:0", *published)
    else:
        # Its default network plugin ignores network policies.
        run("minikube", "start", f"--profile={CLUSTER}", "--cni=calico", "--cpus=2", "--memory=12g")


def remove(context: str, tool: str) -> str:
    """Remove what `make k8s-up` made: the cluster when a tool made it, else our namespace with all its state."""
    if context:
        Cluster(context).kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        return f"the namespace {NAMESPACE} of {context} is gone, with its volumes"
    for each in [tool] if tool else TOOLS:
        if shutil.which(each) and _exists(each):
            run(*DELETE[each])
            return f"the {each} cluster {CLUSTER} is gone"
    return "there was no cluster of ours"


def image_names() -> list[str]:
    """Return the names of our images, as the script that builds them lists them."""
    script = (ROOT / "k8s" / "build-images.sh").read_text(encoding="utf-8")
    return re.findall(r"\[([a-z0-9-]+)\]=\S*Dockerfile", script)


def kustomize(folder: Path) -> str:
    """Return the rendered manifests of a folder."""
    return run("kubectl", "kustomize", str(folder))


def wrapper(
    overlay: str, components: list[str], settings: dict[str, str], registry: str = ""
) -> Path:
    """Write the kustomization that is applied: an overlay, further components, settings; returns its folder.

    With a registry our images come from there, and so do those of task pods.
    """
    folder = ROOT / "build" / "k8s"
    folder.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    said |= {"namespace": NAMESPACE, "resources": [f"../../k8s/overlays/{overlay}"]}
    said["components"] = [f"../../k8s/components/{name}" for name in components]
    changed = {"settings": settings}
    if registry:
        said["images"] = [
            {"name": f"{LOCAL}/{name}", "newName": f"{registry}/{name}"} for name in image_names()
        ]
        changed["airflow-settings"] = {WORKER_IMAGE: f"{registry}/pipeline"}
    said["configMapGenerator"] = [
        {
            "name": name,
            "behavior": "merge",
            "literals": [f"{key}={value}" for key, value in values.items()],
        }
        for name, values in changed.items()
        if values
    ]
    said["generatorOptions"] = {"disableNameSuffixHash": True}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    return folder
