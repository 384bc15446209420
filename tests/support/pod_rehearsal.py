"""Run the rendered pods under podman, as a kubelet would: `python -m tests.support.pod_rehearsal up|tasks|status|down`.

For machines without a cluster. What the manifests say is what runs: images, commands, ConfigMaps and Secrets, init
containers in order, user, read-only root, dropped capabilities, mounts; the probes decide what is ready. `tasks` runs
the scheduler against a stand-in for the Kubernetes API (rehearsal_api.py): each task is then a container made from the
pod template. Network policies and volumes that move are not rehearsed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
ORDER = ("postgres", "s3", "set-up")


class RehearsalFailed(Exception):
    """A pod did what it would do on a cluster: fail. The message holds its last words."""


@dataclass(frozen=True)
class Rehearsal:
    """One run, with its state in `folder`."""

    folder: Path
    resources: list[Resource]
    secrets: dict[str, dict[str, str]]

    def data(self, kind: str, name: str) -> dict[str, str]:
        """Return the content of a ConfigMap or Secret."""
        if kind == "secret":
            return self.secrets[name]
        found = (
            each
            for each in self.resources
            if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
        )
        return dict(next(found)["data"])

    def pods(self) -> dict[str, Resource]:
        """Return the pods by name, storage and set-up first."""
        found = {
            each["metadata"]["name"]: each["spec"]["template"]
            for each in self.resources
            if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job")
        }
        first = {name: found[name] for name in ORDER}
        return first | {name: pod for name, pod in found.items() if name not in LEFT_OUT}

    def scheduler(self, api: str) -> Resource:
        """Return the scheduler's pod, told to ask for its pods at `api`."""
        pods = (
            each
            for each in self.resources
            if each["metadata"]["name"] == SCHEDULER and each["kind"] == "Deployment"
        )
        pod = dict(next(pods)["spec"]["template"])
        where: Resource = {
            "clusters": [{"name": "c", "cluster": {"server": api}}],
            "users": [{"name": "u", "user": {}}],
        }
        where |= {
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        place = self.folder / SCHEDULER / "airflow"
        place.mkdir(parents=True, exist_ok=True)
        (place / "kubeconfig").write_text(
            json.dumps({"apiVersion": "v1", "kind": "Config"} | where), encoding="utf-8"
        )
        os.chown(place, USER, USER)
        main = pod["spec"]["containers"][0]
        main["env"] += [{"name": "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER", "value": "false"}]
        main["env"] += [
            {
                "name": "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE",
                "value": "/opt/airflow/kubeconfig",
            }
        ]
        return pod

    def aliases(self, pod: Resource) -> list[str]:
        """Return the names of the Services that choose this pod."""
        labels = pod["metadata"]["labels"].items()
        services = [each for each in self.resources if each["kind"] == "Service"]
        return [
            each["metadata"]["name"]
            for each in services
            if each["spec"]["selector"].items() <= labels
        ]

    def environment(self, container: Resource) -> dict[str, str]:
        """Resolve envFrom, then env with its $(NAME) references, as the kubelet does."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", []):
            for kind in ("configMap", "secret"):
                if f"{kind}Ref" in source:
                    values |= self.data(kind, source[f"{kind}Ref"]["name"])
        own: dict[str, str] = {}
        for variable in container.get("env", []):
            own[variable["name"]] = self._value(variable, own)
        return values | own

    def _value(self, variable: Resource, known: dict[str, str]) -> str:
        source = variable.get("valueFrom")
        if source is None:
            return expand(variable["value"], known)
        for kind in ("configMap", "secret"):
            if found := source.get(f"{kind}KeyRef"):
                return self.data(kind, found["name"])[found["key"]]
        return ""  # the pod's address: known once it runs

    def mounts(self, name: str, pod: Resource, container: Resource) -> Iterator[str]:
        """Return podman's options for the volumes of a container; what they hold is written on the way."""
        volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            place = self.folder / name / mount["name"]
            if not place.exists():
                place.mkdir(parents=True)
                self._fill(place, volumes.get(mount["name"], {}))
            yield f"--volume={place}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"

    def _fill(self, place: Path, volume: Resource) -> None:
        for kind, key in (("configMap", "name"), ("secret", "secretName")):
            if kind in volume:
                for file, text in self._content(kind, volume[kind], key).items():
                    (place / file).write_text(text, encoding="utf-8")
                    os.chown(place / file, USER, USER)
        os.chown(place, USER, USER)

    def _content(self, kind: str, source: Resource, key: str) -> dict[str, str]:
        try:
            return self.data(kind, source[key])
        except (KeyError, StopIteration):
            if source.get("optional"):
                return {}
            raise

    def arguments(self, name: str, pod: Resource, container: Resource) -> list[str]:
        """Return the words after `podman run` for a container."""
        environment = self.environment(container)
        context, limits = container["securityContext"], container["resources"]["limits"]
        user = pod["spec"]["securityContext"]["runAsUser"]
        words = ["--no-healthcheck", f"--network={NETWORK}", f"--user={user}:{USER}"]
        words += (
            ["--read-only", "--read-only-tmpfs=false"] if context["readOnlyRootFilesystem"] else []
        )
        words += [f"--cap-drop={each}" for each in context["capabilities"]["drop"]]
        words += [
            "--security-opt=no-new-privileges",
            f"--memory={limits['memory'].removesuffix('i').lower()}",
        ]
        words += [f"--env={key}={value}" for key, value in environment.items()]
        words += list(self.mounts(name, pod, container))
        if "command" in container:
            words.append(
                "--entrypoint="
                + json.dumps([expand(word, environment) for word in container["command"]])
            )
        return [
            *words,
            container["image"],
            *(expand(word, environment) for word in container.get("args", [])),
        ]


def expand(text: str, known: dict[str, str]) -> str:
    """Replace $(NAME) by its value; an unknown name stays as it is written."""
    return re.sub(r"\$\((\w+)\)", lambda match: known.get(match[1], match[0]), text)


def podman(*words: str, check: bool = True) -> str:
    """Run podman and return what it printed.

    Raises:
        RehearsalFailed: it failed; the message holds the end of what it said.
    """
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RehearsalFailed(f"podman {words[0]}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout.strip()


def container_name(name: str) -> str:
    """Return the name of a pod's container under podman."""
    return f"{NETWORK}-{name}"


def start(rehearsal: Rehearsal, name: str, pod: Resource) -> None:
    """Run a pod's init containers one after the other, then its container; a Job is awaited."""
    for container in pod["spec"].get("initContainers", []):
        podman("run", "--rm", *rehearsal.arguments(name, pod, container))
    main = pod["spec"]["containers"][0]
    options = [f"--network-alias={alias}" for alias in rehearsal.aliases(pod)]
    if "restartPolicy" in pod["spec"]:
        podman("run", "--rm", *options, *rehearsal.arguments(name, pod, main))
    else:
        podman("rm", "--force", "--ignore", container_name(name))
        options += [
            f"--name={container_name(name)}",
            "--restart=always",
        ]  # a Deployment's pods know no other policy
        podman("run", "--detach", *options, *rehearsal.arguments(name, pod, main))


def is_ready(name: str, container: Resource, kind: str = "readinessProbe") -> bool:
    """Ask the pod's own probe."""
    probe = container.get(kind) or container.get("livenessProbe")
    if probe is None:
        return True
    address = podman("inspect", f"--format={ADDRESS}", container_name(name))
    if "exec" in probe:
        command = [
            "exec",
            f"--env=POD_IP={address}",
            container_name(name),
            *probe["exec"]["command"],
        ]
        return (
            subprocess.run(["podman", *command], capture_output=True, check=False).returncode == 0
        )
    port = next(
        each["containerPort"]
        for each in container["ports"]
        if each["name"] == probe["httpGet"]["port"]
    )
    try:
        answer = httpx.get(
            f"http://{address}:{port}{probe['httpGet']['path']}", timeout=5, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return answer.is_success


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
    """Render the local overlay; Secrets are made once and kept in `folder`."""
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / "local")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = folder / "secrets.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(yaml.safe_dump_all(missing(())), encoding="utf-8")
    secrets = {
        each["metadata"]["name"]: each["stringData"]
        for each in yaml.safe_load_all(kept.read_text())
    }
    return Rehearsal(folder, list(yaml.safe_load_all(text)), secrets)


def up(folder: Path, names: list[str]) -> None:
    """Start the pods of the local overlay (or the named ones) and wait for each."""
    rehearsal = load(folder)
    if NETWORK not in podman("network", "ls", "--format={{.Name}}").split():
        podman("network", "create", NETWORK)
    for name, pod in rehearsal.pods().items():
        if names and name not in names:
            continue
        start(rehearsal, name, pod)
        if "restartPolicy" in pod["spec"]:
            print(f"{name}: done", flush=True)
            continue
        # The API is ready with a model only; until then it is alive.
        kind = "livenessProbe" if name == "api" else "readinessProbe"
        print(
            f"{name}: ready after {await_ready(name, pod['spec']['containers'][0], kind=kind):.0f} s",
            flush=True,
        )


def tasks(folder: Path) -> None:
    """Run the scheduler, and its tasks as containers, until this process is interrupted."""
    rehearsal = load(folder)
    found = json.loads(podman("network", "inspect", NETWORK))[0]
    gateway = found["subnets"][0]["gateway"]
    server = serve(
        gateway,
        API_PORT,
        lambda name, pod: rehearsal.arguments(name, pod, pod["spec"]["containers"][0]),
    )
    pod = rehearsal.scheduler(f"http://{gateway}:{API_PORT}")
    try:
        start(rehearsal, SCHEDULER, pod)
        print(
            f"scheduler: ready after {await_ready(SCHEDULER, pod['spec']['containers'][0]):.0f} s",
            flush=True,
        )
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
    command, names = sys.argv[1], sys.argv[2:]
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
