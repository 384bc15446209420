"""Run the rendered pods under podman: `python -m tests.support.pod_rehearsal up|tasks|status|down`.

For machines without a cluster (docs/adr/0096). podman takes the part of the kubelet, and the
manifests decide: images, commands, ConfigMaps and Secrets, init containers in order, user,
read-only root, dropped capabilities, mounts; the probes tell when a pod is ready. `tasks` runs the
scheduler against a stand-in for the Kubernetes API (pod_rehearsal_api.py): each task is then a
container made from the pod template. Network policies and volumes that move are not rehearsed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from k8s.make_secrets import missing
from readmit.settings import ROOT
from tests.support.pod_rehearsal_api import serve

Resource = dict[str, Any]
NETWORK = "readmit-rehearsal"
USER = 10001
SCHEDULER = "airflow-scheduler"
API_PORT = 16443
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
# Their images are upstream's, or they need the Kubernetes API to do anything.
LEFT_OUT = {"grafana", "backup", SCHEDULER}
FIRST = ("postgres", "s3", "set-up")


class RehearsalFailed(Exception):
    """A pod did what it would do on a cluster: fail. The message has the end of its log."""


@dataclass(frozen=True)
class Rehearsal:
    """One run, with its state in `folder`."""

    folder: Path
    resources: list[Resource]
    secrets: dict[str, dict[str, str]]

    def data(self, kind: str, name: str) -> dict[str, str]:
        """Return the content of a ConfigMap or Secret.

        Raises:
            KeyError: there is none of that name.
        """
        if kind == "secret":
            return self.secrets[name]
        return dict(self._named("ConfigMap")[name]["data"])

    def _named(self, *kinds: str) -> dict[str, Resource]:
        """Return the resources of some kinds by name."""
        by_name = {}
        for resource in self.resources:
            if resource["kind"] in kinds:
                by_name[resource["metadata"]["name"]] = resource
        return by_name

    def pods(self) -> dict[str, Resource]:
        """Return the pods by name, storage and set-up first."""
        workloads = self._named("Deployment", "StatefulSet", "DaemonSet", "Job")
        pods = {}
        for name in [*FIRST, *workloads]:
            if name not in LEFT_OUT:
                pods[name] = workloads[name]["spec"]["template"]
        return pods

    def scheduler(self, api: str) -> Resource:
        """Return the scheduler's pod with the stand-in at `api` as its cluster."""
        pod = dict(self._named("Deployment")[SCHEDULER]["spec"]["template"])
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": api}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        folder = self.folder / SCHEDULER / "airflow"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
        os.chown(folder, USER, USER)
        prefix = "AIRFLOW__KUBERNETES_EXECUTOR__"
        pod["spec"]["containers"][0]["env"] += [
            {"name": f"{prefix}IN_CLUSTER", "value": "false"},
            {"name": f"{prefix}CONFIG_FILE", "value": "/opt/airflow/kubeconfig"},
        ]
        return pod

    def aliases(self, pod: Resource) -> list[str]:
        """Return the names of the Services that select this pod."""
        labels = pod["metadata"]["labels"].items()
        names = []
        for name, service in self._named("Service").items():
            if service["spec"]["selector"].items() <= labels:
                names.append(name)
        return names

    def environment(self, container: Resource) -> dict[str, str]:
        """Resolve envFrom, then env with its $(NAME) references, as the kubelet does."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", []):
            for kind in ("configMap", "secret"):
                if f"{kind}Ref" in source:
                    for key, value in self.data(kind, source[f"{kind}Ref"]["name"]).items():
                        values[source.get("prefix", "") + key] = value
        own_values: dict[str, str] = {}
        for variable in container.get("env", []):
            own_values[variable["name"]] = self._value(variable, own_values)
        return values | own_values

    def _value(self, variable: Resource, earlier: dict[str, str]) -> str:
        source = variable.get("valueFrom")
        if source is None:
            return expand(variable["value"], earlier)
        for kind in ("configMap", "secret"):
            reference = source.get(f"{kind}KeyRef")
            if reference and not reference.get("optional"):
                return self.data(kind, reference["name"])[reference["key"]]
        return ""  # the pod's address: it has one only when it runs

    def mounts(self, name: str, pod: Resource, container: Resource) -> list[str]:
        """Write the volumes of a container into folders; returns podman's options for them."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        options = []
        for mount in container.get("volumeMounts", []):
            folder = self.folder / name / mount["name"]
            if not folder.exists():
                folder.mkdir(parents=True)
                self._fill(folder, volumes.get(mount["name"], {}))
            access = "rw"
            if mount.get("readOnly"):
                access = "ro"
            options.append(f"--volume={folder}:{mount['mountPath']}:{access}")
        return options

    def _fill(self, folder: Path, volume: Resource) -> None:
        for kind, key in (("configMap", "name"), ("secret", "secretName")):
            if kind not in volume:
                continue
            try:
                files = self.data(kind, volume[kind][key])
            except KeyError:
                if not volume[kind].get("optional"):
                    raise
                files = {}
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
                os.chown(folder / file, USER, USER)
        os.chown(folder, USER, USER)

    def arguments(self, name: str, pod: Resource, container: Resource) -> list[str]:
        """Return the words after `podman run` for a container."""
        environment = self.environment(container)
        context = container["securityContext"]
        user = pod["spec"]["securityContext"]["runAsUser"]
        memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
        words = ["--no-healthcheck", f"--network={NETWORK}", f"--user={user}:{USER}"]
        words += ["--security-opt=no-new-privileges", f"--memory={memory}"]
        if context["readOnlyRootFilesystem"]:
            words += ["--read-only", "--read-only-tmpfs=false"]
        for capability in context["capabilities"]["drop"]:
            words.append(f"--cap-drop={capability}")
        for key, value in environment.items():
            words.append(f"--env={key}={value}")
        words += self.mounts(name, pod, container)
        if "command" in container:
            command = [expand(word, environment) for word in container["command"]]
            words.append(f"--entrypoint={json.dumps(command)}")
        arguments = [expand(word, environment) for word in container.get("args", [])]
        return [*words, container["image"], *arguments]


def expand(text: str, values: dict[str, str]) -> str:
    """Replace $(NAME) by its value; an unknown name stays as it is written."""
    return re.sub(r"\$\((\w+)\)", lambda match: values.get(match[1], match[0]), text)


def podman(*words: str, check: bool = True) -> str:
    """Run podman and return what it printed.

    Raises:
        RehearsalFailed: it failed; the message holds the end of its output.
    """
    command = ["podman", *words]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and process.returncode != 0:
        output = (process.stdout + process.stderr).strip()
        raise RehearsalFailed(f"podman {words[0]}: {output[-1500:]}")
    return process.stdout.strip()


def container_name(name: str) -> str:
    """Return the name of a pod's container under podman."""
    return f"{NETWORK}-{name}"


def start(rehearsal: Rehearsal, name: str, pod: Resource) -> None:
    """Run a pod's init containers one after the other, then its container; a Job is awaited."""
    for container in pod["spec"].get("initContainers", []):
        podman("run", "--rm", *rehearsal.arguments(name, pod, container))
    arguments = rehearsal.arguments(name, pod, pod["spec"]["containers"][0])
    options = [f"--network-alias={alias}" for alias in rehearsal.aliases(pod)]
    if is_job(pod):
        podman("run", "--rm", *options, *arguments)
    else:
        podman("rm", "--force", "--ignore", container_name(name))
        # A Deployment's pods know no other restart policy.
        options += [f"--name={container_name(name)}", "--restart=always"]
        podman("run", "--detach", *options, *arguments)


def is_job(pod: Resource) -> bool:
    """Tell whether a pod ends by itself."""
    return "restartPolicy" in pod["spec"]


def is_ready(name: str, container: Resource, kind: str = "readinessProbe") -> bool:
    """Run the pod's own probe."""
    probe = container.get(kind) or container.get("livenessProbe")
    if probe is None:
        return True
    address = podman("inspect", f"--format={ADDRESS}", container_name(name))
    if "exec" in probe:
        command = ["podman", "exec", f"--env=POD_IP={address}", container_name(name)]
        command += probe["exec"]["command"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    http = probe["httpGet"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    url = f"http://{address}:{ports[http['port']]}{http['path']}"
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def await_ready(
    name: str, container: Resource, seconds: float = 180, kind: str = "readinessProbe"
) -> float:
    """Wait for a pod's probe; returns the seconds that it took.

    Raises:
        RehearsalFailed: it did not get ready; the message holds the end of its log.
    """
    began = time.monotonic()
    while not is_ready(name, container, kind):
        if time.monotonic() - began > seconds:
            raise RehearsalFailed(
                f"{name} is not ready: {podman('logs', '--tail=15', container_name(name))}"
            )
        time.sleep(1)
    return time.monotonic() - began


def load(folder: Path) -> Rehearsal:
    """Render the local overlay; Secrets are made once and stay in `folder`."""
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / "local")]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    secrets_file = folder / "secrets.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    if not secrets_file.exists():
        secrets_file.touch(mode=0o600)
        secrets_file.write_text(yaml.safe_dump_all(missing({})), encoding="utf-8")
    secrets = {}
    for secret in yaml.safe_load_all(secrets_file.read_text(encoding="utf-8")):
        secrets[secret["metadata"]["name"]] = secret["stringData"]
    return Rehearsal(folder, list(yaml.load_all(process.stdout, Loader=yaml.CSafeLoader)), secrets)


def up(folder: Path, names: list[str]) -> None:
    """Start the pods of the local overlay (or the named ones) and wait for each."""
    rehearsal = load(folder)
    if NETWORK not in podman("network", "ls", "--format={{.Name}}").split():
        podman("network", "create", NETWORK)
    for name, pod in rehearsal.pods().items():
        if names and name not in names:
            continue
        start(rehearsal, name, pod)
        if is_job(pod):
            print(f"{name}: complete", flush=True)
            continue
        # The API is ready with a model only; until then it is alive.
        kind = "readinessProbe"
        if name == "api":
            kind = "livenessProbe"
        seconds = await_ready(name, pod["spec"]["containers"][0], kind=kind)
        print(f"{name}: ready after {seconds:.0f} s", flush=True)


def tasks(folder: Path) -> None:
    """Run the scheduler, and its tasks as containers, until this process is interrupted."""
    rehearsal = load(folder)
    network = json.loads(podman("network", "inspect", NETWORK))[0]
    gateway = network["subnets"][0]["gateway"]

    def task_arguments(name: str, pod: Resource) -> list[str]:
        return rehearsal.arguments(name, pod, pod["spec"]["containers"][0])

    server = serve(gateway, API_PORT, task_arguments)
    pod = rehearsal.scheduler(f"http://{gateway}:{API_PORT}")
    try:
        start(rehearsal, SCHEDULER, pod)
        seconds = await_ready(SCHEDULER, pod["spec"]["containers"][0])
        print(f"{SCHEDULER}: ready after {seconds:.0f} s", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        podman("rm", "--force", "--ignore", "--time=20", container_name(SCHEDULER))
        server.shutdown()


def down(folder: Path) -> None:
    """Remove the pods, the network and all state."""
    for name in podman("ps", "--all", f"--filter=name={NETWORK}-", "--format={{.Names}}").split():
        podman("rm", "--force", "--time=10", name)
    podman("network", "rm", "--force", NETWORK, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Command line."""
    folder = ROOT / "build" / "rehearsal"
    command = sys.argv[1]
    names = sys.argv[2:]
    if command == "up":
        up(folder, names)
    elif command == "tasks":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        tasks(folder)
    elif command == "status":
        print(podman("stats", "--no-stream", "--format={{.Name}} {{.CPUPerc}} {{.MemUsage}}"))
    else:
        down(folder)


if __name__ == "__main__":
    main()
