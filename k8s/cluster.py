"""A Kubernetes cluster as `make k8s-up` uses it.

It runs kubectl on one context, puts images into the nodes and forwards ports.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from readmit.loopback import is_loopback
from readmit.settings import ROOT

# A Kubernetes resource, as its manifest has it.
Resource = dict[str, Any]

NAMESPACE = "readmit"
NAMESPACE_FILE = ROOT / "k8s" / "base" / "namespace.yaml"
CLUSTER = "readmit"
TOOLS = ("kind", "minikube", "k3d")
NODE_PORTS = (30501, 30800, 30808, 30500, 30880, 30300, 30909)
# kubectl ends with the pod that it forwards to. The loop starts it again for as long as our process
# lives.
FORWARD_AGAIN = """
alive() { kill -0 "$1" 2>/dev/null; }
while alive $PPID; do
    "$@" &
    while alive $PPID && alive $!; do sleep 1; done
    kill $! 2>/dev/null
done
"""
SECONDS_FOR_PORT = 60.0
SECONDS_FOR_REGISTRY = 10.0


class ClusterFailed(Exception):
    """A command against the cluster failed; the message holds its output and what to do."""


def as_list(resources: list[Resource]) -> str:
    """Return resources as text for kubectl.

    The text is JSON: there a string that looks like a number (12e3) stays a string.
    """
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": resources})


def run(*words: str, text: str | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        ClusterFailed: it is missing or it failed.
    """
    try:
        process = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterFailed(f"{words[0]} is not installed; docs/kubernetes.md says how") from error
    if process.returncode != 0:
        output = (process.stderr or process.stdout).strip()
        raise ClusterFailed(f"{' '.join(words[:4])}: {output[-1500:]}")
    return process.stdout


@dataclass(frozen=True)
class Cluster:
    """A cluster: kubectl's context for it, the tool that made it, and its name in that tool.

    `tool` is empty when no tool that we know made it.
    """

    context: str
    tool: str = ""
    name: str = CLUSTER

    def command(self, *words: str) -> list[str]:
        """Return a command of kubectl on this context, in our namespace."""
        return ["kubectl", f"--context={self.context}", f"--namespace={NAMESPACE}", *words]

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """Run kubectl on this context, in our namespace."""
        return run(*self.command(*words), text=text)

    def get(self, *words: str) -> list[Resource]:
        """Return the resources of a kind."""
        return list(json.loads(self.kubectl("get", *words, "--output=json"))["items"])

    def secrets(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the Secrets of these names in clear, by name.

        Others may be in the namespace, put there by somebody else, with anything in them.
        """
        secrets = {}
        for secret in self.get("secrets"):
            if secret["metadata"]["name"] not in names:
                continue
            values = {}
            for key, value in secret.get("data", {}).items():
                values[key] = base64.b64decode(value).decode()
            secrets[secret["metadata"]["name"]] = values
        return secrets

    def settings(self) -> dict[str, str]:
        """Return the parts' ConfigMap `settings`; empty before the first installation."""
        return self.config_map("settings")

    def postgres_authority(self) -> str:
        """Return the certificate that verifies an external Postgres; empty when there is none."""
        return self.config_map("postgres-ca").get("ca.crt", "")

    def config_map(self, name: str) -> dict[str, str]:
        """Return what a ConfigMap holds; empty when there is none."""
        output = self.kubectl("get", "configmap", name, "--ignore-not-found", "--output=json")
        return dict(json.loads(output)["data"]) if output.strip() else {}

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """Forward a free port of this machine to a service while the block runs.

        The port stays when the pod behind the service is replaced.

        Raises:
            ClusterFailed: the service cannot be reached.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))  # a port that is free
            local_port = int(probe.getsockname()[1])
        forward = self.command(
            "port-forward",
            "--address=127.0.0.1",
            f"service/{service}",
            f"{local_port}:{port}",
        )
        loop = ["sh", "-c", FORWARD_AGAIN, "sh", *forward]
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(loop, stdout=log, stderr=log, start_new_session=True) as process,
        ):
            try:
                if not _listens(local_port):
                    log.seek(0)
                    raise ClusterFailed(f"no port to {service}: {log.read().strip()[-300:]}")
                yield local_port
            finally:
                os.killpg(process.pid, signal.SIGTERM)

    def host(self) -> str:
        """Return the address at which the node's ports are reached from this machine."""
        if self.tool in ("kind", "k3d") and self.name == CLUSTER:
            return "127.0.0.1"  # `_create` published the ports
        if self.tool == "minikube":
            return run("minikube", "ip", f"--profile={self.name}").strip()
        addresses = {}
        for node in self.get("nodes"):
            for address in node["status"]["addresses"]:
                addresses[address["type"]] = str(address["address"])
        return addresses.get("ExternalIP") or addresses.get("InternalIP") or "127.0.0.1"

    def load(self, image: str) -> None:
        """Put an image of this machine into the nodes."""
        with tempfile.TemporaryDirectory() as folder:
            archive = str(Path(folder) / "image.tar")
            run(container_engine(), "save", "--output", archive, image)
            if self.tool == "kind":
                run("kind", "load", "image-archive", archive, f"--name={self.name}")
            elif self.tool == "minikube":
                run("minikube", "image", "load", archive, f"--profile={self.name}")
            elif self.tool == "k3d":
                run("k3d", "image", "import", archive, f"--cluster={self.name}")


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
    """Return the layers of an image of this machine.

    They identify its content. Its id does not: the labels in it name each commit.
    """
    engine = container_engine()
    return run(engine, "image", "inspect", "--format={{json .RootFS.Layers}}", image).strip()


def push(image: str) -> None:
    """Push an image of this machine to the registry that its name says.

    podman asks for HTTPS also where only HTTP is spoken; Docker knows that of this machine.
    """
    engine = container_engine()
    options = []
    if engine.endswith("podman") and speaks_http_only(image.partition("/")[0]):
        options.append("--tls-verify=false")
    run(engine, "push", *options, image)


def speaks_http_only(host: str) -> bool:
    """Tell whether a registry answers by plain HTTP and not by HTTPS."""
    return not answers(f"https://{host}/v2/") and answers(f"http://{host}/v2/")


def answers(url: str) -> bool:
    """Tell whether something answers at an address; a log-in that it asks for is an answer."""
    try:
        # This machine is reached without a proxy.
        trust_proxy = not is_loopback(httpx.URL(url).host)
        httpx.get(url, timeout=SECONDS_FOR_REGISTRY, trust_env=trust_proxy)
    except httpx.HTTPError:
        return False
    return True


def container_engine() -> str:
    """Return docker or podman, whichever works; ENGINE decides when it is set."""
    for engine in (os.environ.get("ENGINE"), "docker", "podman"):
        if not engine or not shutil.which(engine):
            continue
        info = subprocess.run([engine, "info"], capture_output=True, check=False)
        if info.returncode == 0:
            return engine
    raise ClusterFailed("neither docker nor podman works here: install one, or set ENGINE")


def find(context: str, tool: str) -> Cluster:
    """Return the cluster of a given context, or else the one that a tool keeps.

    Without `tool` the first installed one is used. It makes the cluster if there is none.

    Raises:
        ClusterFailed: there is neither.
    """
    if context:
        return _cluster_of(context)
    installed = [candidate for candidate in TOOLS if shutil.which(candidate)]
    if not tool and installed:
        tool = installed[0]
    if tool not in TOOLS:
        raise ClusterFailed(
            "no cluster: install kind, minikube or k3d, or name one of kubectl's contexts by"
            " CONTEXT="
        )
    cluster = Cluster(context_of(tool), tool)
    if not exists(tool):
        _create(tool)
        cluster.kubectl("apply", f"--filename={NAMESPACE_FILE}")  # marks the cluster as ours
    return cluster


def context_of(tool: str) -> str:
    """Return kubectl's name for the cluster that a tool keeps for us."""
    if tool == "minikube":
        return CLUSTER
    return f"{tool}-{CLUSTER}"


def _cluster_of(context: str) -> Cluster:
    """Return the cluster of a given context, with its tool when that is on this machine.

    Each tool names contexts in its own way.
    """
    for tool in ("kind", "k3d"):
        if context.startswith(f"{tool}-") and shutil.which(tool):
            return Cluster(context, tool, context.removeprefix(f"{tool}-"))
    if shutil.which("minikube") and context in _minikube_profiles():
        return Cluster(context, "minikube", context)
    return Cluster(context)


def exists(tool: str) -> bool:
    """Return whether a tool has a cluster with our name."""
    if tool == "kind":
        return CLUSTER in run("kind", "get", "clusters").split()
    if tool == "k3d":
        clusters = json.loads(run("k3d", "cluster", "list", "--output=json"))
        return CLUSTER in [cluster["name"] for cluster in clusters]
    return CLUSTER in _minikube_profiles()


def _minikube_profiles() -> list[str]:
    profiles = json.loads(run("minikube", "profile", "list", "--output=json"))
    return [profile["Name"] for profile in profiles.get("valid", [])]


def _create(tool: str) -> None:
    if tool == "kind":
        mappings = []
        for port in NODE_PORTS:
            mappings.append({"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"})
        node = {"role": "control-plane", "extraPortMappings": mappings}
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}
        document = yaml.safe_dump(config)
        run("kind", "create", "cluster", f"--name={CLUSTER}", "--config=-", text=document)
    elif tool == "k3d":
        ports = [f"--port=127.0.0.1:{port}:{port}@server:0" for port in NODE_PORTS]
        run("k3d", "cluster", "create", CLUSTER, "--k3s-arg=--disable=traefik@server:0", *ports)
    else:
        # Its default network plugin ignores network policies.
        run("minikube", "start", f"--profile={CLUSTER}", "--cni=calico", "--cpus=2", "--memory=12g")
