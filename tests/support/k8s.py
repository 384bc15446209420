"""Rendered manifests and the rules over them. A rule returns one line per problem, so a test can show it failing."""

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
NAME = "app.kubernetes.io/name"
OVERLAYS = sorted(
    path.name for path in (K8S / "overlays").iterdir() if (path / "kustomization.yaml").exists()
)
COMPONENTS = sorted(
    path.name for path in (K8S / "components").iterdir() if (path / "kustomization.yaml").exists()
)
Resource = dict[str, Any]


@cache
def _build(folder: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip(
            "kubectl 1.27 or newer is not on the PATH: https://kubernetes.io/docs/tasks/tools/"
        )
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return done.stdout


def load(text: str) -> list[Resource]:
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def overlay(name: str) -> list[Resource]:
    """A fresh copy: tests change it."""
    return load(_build(str(K8S / "overlays" / name)))


def combined(components: tuple[str, ...], on: str = "base") -> list[Resource]:
    """Build the base (or an overlay) with components, as a user's own overlay would; a fresh copy."""
    return load(_build_combined(components, on))


@cache
def _build_combined(components: tuple[str, ...], on: str) -> str:
    base = "../base" if on == "base" else f"../overlays/{on}"
    with tempfile.TemporaryDirectory(dir=K8S) as folder:
        said = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [base],
            "components": [f"../components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(said))
        return _build(folder)


def combinations_of_components() -> list[tuple[str, ...]]:
    """Each alone, each pair, and all of them."""
    few = [pick for size in (1, 2) for pick in combinations(COMPONENTS, size)]
    return [*few, tuple(COMPONENTS)]


def everything() -> list[Resource]:
    """The local overlay with the optional parts: every pod of ours that can exist in one cluster."""
    return combined(("load-test", "notebooks"), on="local")


# ---------------------------------------------------------------- looking into manifests


def of_kind(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [found for found in resources if found["kind"] in kinds]


def named(resources: list[Resource], kind: str, name: str) -> Resource:
    return next(found for found in of_kind(resources, kind) if found["metadata"]["name"] == name)


def pod_template(resources: list[Resource]) -> Resource:
    """The pod of an Airflow task, out of its ConfigMap."""
    return dict(yaml.safe_load(named(resources, "ConfigMap", "pod-template")["data"]["pod.yaml"]))


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """Every pod that may run, as {name: {"metadata", "spec"}}; the pod of a task among them."""
    found = {}
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec and "spec" in spec["template"]:
            found[resource["metadata"]["name"]] = spec["template"]
    return found | {"airflow-task": pod_template(resources)}


def containers(pod: Resource) -> list[Resource]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def every_container(resources: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """(where, container, pod)"""
    for name, pod in pods(resources).items():
        for container in containers(pod):
            yield f"{name}/{container['name']}", container, pod


# ---------------------------------------------------------------- rules

USES_KUBERNETES = {"airflow-scheduler", "airflow-api-server"}


def hardening(resources: list[Resource]) -> list[str]:
    """Pod Security `restricted` and what goes beyond it."""
    accounts = {found["metadata"]["name"] for found in of_kind(resources, "ServiceAccount")}
    return [
        f"{name}: {problem}"
        for name, pod in pods(resources).items()
        for problem in _pod(name, pod["spec"], accounts)
    ]


def _pod(name: str, spec: Resource, accounts: set[str]) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if spec.get("serviceAccountName") not in accounts:
        yield "has no ServiceAccount of its own"
    if spec.get("automountServiceAccountToken", True) != (name in USES_KUBERNETES):
        yield "carries a token, or lacks the one that it needs"
    if spec.get("enableServiceLinks", True):
        yield "service links would set POSTGRES_PORT and others"
    if not context.get("runAsNonRoot") or context.get("runAsUser", 0) < 1000:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if (
        spec.get("hostNetwork")
        or spec.get("hostPID")
        or any("hostPath" in each for each in spec.get("volumes", []))
    ):
        yield "reaches into the host"
    if context.get("fsGroup") != context.get("runAsGroup"):
        yield "may not write to its volumes"
    for container in containers({"spec": spec}):
        for problem in _container(container):
            yield f"{container['name']}: {problem}"


def _container(container: Resource) -> Iterator[str]:
    context, resources = container.get("securityContext", {}), container.get("resources", {})
    if context.get("allowPrivilegeEscalation", True):
        yield "may gain privileges"
    if not context.get("readOnlyRootFilesystem"):
        yield "its root file system is writable"
    elif not {"/tmp", "/opt/airflow"} & {
        mount["mountPath"] for mount in container.get("volumeMounts", [])
    }:
        yield "has no place to write"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    for part in ("requests", "limits"):
        if set(resources.get(part, {})) < {"cpu", "memory"}:
            yield f"has no {part}"
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"its image {container['image']} has no fixed version"


def references(resources: list[Resource], secrets: dict[str, set[str]]) -> list[str]:
    """ConfigMaps, Secrets and keys that are read but do not exist."""
    maps = {
        found["metadata"]["name"]: set(found.get("data", {}))
        for found in of_kind(resources, "ConfigMap")
    }
    known = {"configMap": maps, "secret": secrets}
    problems = []
    for where, container, pod in every_container(resources):
        for kind, name, key in [*_read(container), *_mounted(pod)]:
            keys = known[kind].get(name)
            if keys is None or (key and key not in keys):
                problems.append(
                    f"{where}: {kind} {name}{f' has no {key}' if keys is not None else ' does not exist'}"
                )
    return problems


def _read(container: Resource) -> Iterator[tuple[str, str, str]]:
    for source in container.get("envFrom", []):
        for kind in ("configMap", "secret"):
            if f"{kind}Ref" in source:
                yield kind, source[f"{kind}Ref"]["name"], ""
    for variable in container.get("env", []):
        for kind in ("configMap", "secret"):
            if found := variable.get("valueFrom", {}).get(f"{kind}KeyRef"):
                yield kind, found["name"], found["key"]


def _mounted(pod: Resource) -> Iterator[tuple[str, str, str]]:
    for volume in pod["spec"].get("volumes", []):
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "configMap", volume["configMap"]["name"], ""
        if "secret" in volume:
            yield "secret", volume["secret"]["secretName"], ""


def passwords(resources: list[Resource]) -> list[str]:
    """Secrets that are put into an address: one out of a vault may hold an @ or a /."""
    problems = []
    for where, container, _ in every_container(resources):
        secret = {
            each["name"]
            for each in container.get("env", [])
            if "secretKeyRef" in each.get("valueFrom", {})
        }
        for variable in container.get("env", []):
            used = set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) & secret
            problems += [
                f"{where}: {variable['name']} holds {name}"
                for name in used
                if "://" in variable["value"]
            ]
    return problems


def mounts(resources: list[Resource]) -> list[str]:
    """Mounts without a volume, and volumes that nobody mounts."""
    claims = {
        found["metadata"]["name"]: {
            each["metadata"]["name"] for each in found["spec"].get("volumeClaimTemplates", [])
        }
        for found in of_kind(resources, "StatefulSet")
    }
    problems = []
    for name, pod in pods(resources).items():
        volumes = {each["name"] for each in pod["spec"].get("volumes", [])} | claims.get(
            name, set()
        )
        used = {
            mount["name"]
            for container in containers(pod)
            for mount in container.get("volumeMounts", [])
        }
        problems += [f"{name}: {each}" for each in volumes ^ used]
    return problems


def services(resources: list[Resource]) -> list[str]:
    """Services that select no pod, or a port that no container has."""
    problems = []
    for service in of_kind(resources, "Service"):
        wanted = service["spec"]["selector"]
        chosen = [
            pod
            for pod in pods(resources).values()
            if wanted.items() <= pod["metadata"]["labels"].items()
        ]
        ports = {
            port["name"]
            for pod in chosen
            for each in containers(pod)
            for port in each.get("ports", [])
        }
        problems += [
            f"{service['metadata']['name']}: no container has the port {port['targetPort']}"
            for port in service["spec"]["ports"]
            if port["targetPort"] not in ports
        ]
    return problems


# An address with a scheme, a user, or as the value of `url`; variables are looked at where they are set.
ADDRESS = re.compile(r"(?:https?://|@|url: )([a-z0-9-]+):(\d+)")
OUTSIDE = ".example.org"


def addresses(resources: list[Resource]) -> list[str]:
    """Addresses in settings, commands and configuration files that no Service answers."""
    known = {
        (found["metadata"]["name"], str(port["port"]))
        for found in of_kind(resources, "Service")
        for port in found["spec"]["ports"]
    }
    said = [
        ("ConfigMap " + found["metadata"]["name"], yaml.safe_dump(found["data"]))
        for found in of_kind(resources, "ConfigMap")
    ]
    # An image is no address, though its digest looks like a port.
    said += [
        (where, yaml.safe_dump(each | {"image": ""}))
        for where, each, _ in every_container(resources)
    ]
    found = {(where, name, port) for where, text in said for name, port in ADDRESS.findall(text)}
    settings = named(resources, "ConfigMap", "settings")["data"]
    found.add(("ConfigMap settings", settings["POSTGRES_HOST"], settings["POSTGRES_PORT"]))
    return [
        f"{where}: {name}:{port}"
        for where, name, port in sorted(found)
        if not name[0].isdigit() and not name.endswith(OUTSIDE) and (name, port) not in known
    ]


def probes(resources: list[Resource], routes: dict[str, set[str]]) -> list[str]:
    """Long-running containers without probes, probes of ports that do not exist or of routes that are not known."""
    problems = []
    for where, container, pod in every_container(resources):
        if pod["spec"].get("restartPolicy") in ("Never", "OnFailure") or container in pod[
            "spec"
        ].get("initContainers", []):
            continue
        ports = {port["name"] for port in container.get("ports", [])}
        found = [
            container[kind]
            for kind in ("startupProbe", "readinessProbe", "livenessProbe")
            if kind in container
        ]
        if not found and ports:
            problems.append(f"{where}: has no probe")
        for probe in found:
            if http := probe.get("httpGet"):
                if http["port"] not in ports:
                    problems.append(f"{where}: probes the port {http['port']}")
                if http["path"] not in routes.get(container["name"], set()):
                    problems.append(f"{where}: probes {http['path']}")
    return problems


def drains(resources: list[Resource]) -> list[str]:
    """Budgets that would keep a node from being emptied, and parts of which an emptied node may take everything."""
    specs = {
        found["metadata"]["name"]: found["spec"]
        for found in of_kind(resources, "PodDisruptionBudget")
    }
    pairs = {
        found["metadata"]["name"]
        for found in of_kind(resources, "Deployment")
        if found["spec"].get("replicas", 1) > 1
    }
    kept = {spec["selector"]["matchLabels"][NAME] for spec in specs.values()}
    lost = [
        f"{name}: a drain may take all of it at once"
        for name in sorted(pairs - kept - {"locust-worker"})
    ]
    return (
        lost
        + [
            f"{name}: allows no pod to go"
            for name, spec in specs.items()
            if not spec.get("maxUnavailable")
        ]
        + [
            f"{name}: waits for pods that are not ready"
            for name, spec in specs.items()
            if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow"
        ]
    )


# `kubectl apply` keeps the whole object in an annotation of at most 256 KiB.
LARGEST = 250_000


def sizes(resources: list[Resource]) -> list[str]:
    """Objects that `kubectl apply` could not write."""
    found = {
        f"{each['kind']} {each['metadata']['name']}": len(json.dumps(each)) for each in resources
    }
    return [f"{name}: {size} bytes" for name, size in found.items() if size > LARGEST]


def images(resources: list[Resource]) -> set[str]:
    return {container["image"] for _, container, _ in every_container(resources)}


def built_images() -> set[str]:
    """What k8s/build-images.sh builds, with the version of pyproject.toml."""
    script = (K8S / "build-images.sh").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {
        f"localhost/readmit/{name}:{version}"
        for name in re.findall(r"\[([a-z0-9-]+)\]=\S*Dockerfile", script)
    }


UNITS = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1.0}


def quantity(text: str | int) -> float:
    match = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|)", str(text))
    assert match, text
    return float(match[1]) * UNITS[match[2]]


def requested(resources: list[Resource], what: str) -> float:
    """What the scheduler must find for the long-running pods and one task pod."""
    replicas = {
        found["metadata"]["name"]: found["spec"].get("replicas", 1)
        for found in of_kind(resources, "Deployment")
    }
    jobs = {found["metadata"]["name"] for found in of_kind(resources, "Job", "CronJob")}
    return sum(
        _pod_request(pod, what) * replicas.get(name, 1)
        for name, pod in pods(resources).items()
        if name not in jobs
    )


def _pod_request(pod: Resource, what: str) -> float:
    first = [
        quantity(each["resources"]["requests"][what])
        for each in pod["spec"].get("initContainers", [])
    ]
    return max(
        [
            *first,
            sum(
                quantity(each["resources"]["requests"][what]) for each in pod["spec"]["containers"]
            ),
        ]
    )


# ---------------------------------------------------------------- network

Arrow = tuple[str, str, int]


def allowed(resources: list[Resource]) -> set[Arrow]:
    """Return (from, to, port) for all pairs of pods that both ends' policies let talk."""
    parts = {pod["metadata"]["labels"][NAME] for pod in pods(resources).values()}
    policies = of_kind(resources, "NetworkPolicy")
    out = {
        (part, peer, port)
        for part in parts
        for peer, port in _peers(policies, part, "egress", "to")
    }
    into = {
        (peer, part, port)
        for part in parts
        for peer, port in _peers(policies, part, "ingress", "from")
    }
    return out & into


def one_sided(resources: list[Resource]) -> set[Arrow]:
    """Return arrows that only one end allows: they do nothing, so somebody meant something else."""
    parts = {pod["metadata"]["labels"][NAME] for pod in pods(resources).values()}
    policies = of_kind(resources, "NetworkPolicy")
    out = {
        (part, peer, port)
        for part in parts
        for peer, port in _peers(policies, part, "egress", "to")
    }
    into = {
        (peer, part, port)
        for part in parts
        for peer, port in _peers(policies, part, "ingress", "from")
    }
    return out ^ into


def denied_by_default(resources: list[Resource]) -> bool:
    wanted = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return any(found["spec"] == wanted for found in of_kind(resources, "NetworkPolicy"))


def _peers(policies: list[Resource], part: str, way: str, key: str) -> Iterator[tuple[str, int]]:
    for policy in policies:
        if policy["spec"]["podSelector"].get("matchLabels", {}).get(NAME) != part:
            continue
        for rule in policy["spec"].get(way, []):
            for peer in rule.get(key, []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield from (
                        (peer["podSelector"]["matchLabels"][NAME], port["port"])
                        for port in rule["ports"]
                    )


def from_outside(resources: list[Resource]) -> set[tuple[str, int]]:
    """Return (part, port) that addresses or namespaces outside of ours may reach."""
    found = set()
    for policy in of_kind(resources, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            if any(
                "ipBlock" in peer or "namespaceSelector" in peer
                for peer in rule.get("from", [{"ipBlock": "any"}])
            ):
                chosen = policy["spec"]["podSelector"].get("matchLabels", {})
                part = chosen.get(NAME, next(iter(chosen), "*"))
                found |= {(part, port["port"]) for port in rule.get("ports", [])}
    return found


def to_outside(resources: list[Resource]) -> set[str]:
    """Return the parts that may reach addresses outside of the namespace, DNS apart."""
    return {
        policy["spec"]["podSelector"].get("matchLabels", {}).get(NAME, "*")
        for policy in of_kind(resources, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if policy["metadata"]["name"] != "dns"
        and any("ipBlock" in peer for peer in rule.get("to", [{"ipBlock": "any"}]))
    }


def pictured() -> set[Arrow]:
    """The arrows of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.findall(r"(?m)^\s*([\w-]+) -->\|(\d+)\| ([\w-]+)$", text)
    return {(source, target, int(port)) for source, port, target in found}
