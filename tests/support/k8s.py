"""Rendered manifests and the rules over them.

A rule returns one line per problem, so a test can show it failing.
"""

import hashlib
import json
import os
import pickle
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
from kubernetes_validate import utils as schemas

from k8s.overlays import image_names
from tests.support import shared

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
NAME = "app.kubernetes.io/name"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
Resource = dict[str, Any]
# kubernetes-validate reads the schemas of a release, 1.5 MB of JSON, for each resource: with this 0.3 s of a core for
# all manifests, and 4.1 s without.
schemas.schema_contents = cache(schemas.schema_contents)


def _build(folder: str) -> str:
    if shutil.which("kubectl") is None:
        pytest.skip(
            "kubectl 1.27 or newer is not on the PATH: https://kubernetes.io/docs/tasks/tools/"
        )
    command = ["kubectl", "kustomize", folder]
    # It ends soon: looking for unused memory is a fifth of its work.
    env = {**os.environ, "GOGC": "off"}
    process = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, f"{folder}: {process.stderr}"
    return process.stdout


@cache
def _shared(starting_point: str, components: tuple[str, ...] = ()) -> str:
    """Return the rendering of a folder of k8s/ with components, made once for all processes."""
    name = "-".join((starting_point.replace("/", "-"), *components))
    digest = hashlib.sha256(f"{_digest_of_sources()} {name}".encode()).hexdigest()

    def render() -> str:
        if not components:
            return _build(str(K8S / starting_point))
        return _build_with(starting_point, components)

    return shared.text(f"kustomize-{digest}", render)


@cache
def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for part in ("base", "components", "overlays"):
        for path in sorted((K8S / part).rglob("*.*")):
            digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def load(text: str) -> list[Resource]:
    documents = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return [document for document in documents if document]


def overlay(name: str) -> list[Resource]:
    """Return a fresh copy: tests change it."""
    return _copy_of(_shared(f"overlays/{name}"))


def _copy_of(text: str) -> list[Resource]:
    """Return what the text says; a copy of it takes 2 ms, reading it 60."""
    resources: list[Resource] = pickle.loads(_pickled(text))
    return resources


@cache
def _pickled(text: str) -> bytes:
    return pickle.dumps(load(text))


def combined(components: tuple[str, ...], on: str = "base") -> list[Resource]:
    """Return the base (or an overlay) with components, as in a user's own overlay; a fresh copy."""
    if on == "base":
        if "node-ports" in components and "login-proxy" not in components:
            components = ("login-proxy", *components)  # without it kustomize refuses the other
        return _copy_of(_shared("base", components))
    return _copy_of(_shared(f"overlays/{on}", components))


def _build_with(starting_point: str, components: tuple[str, ...]) -> str:
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../{starting_point}"],
        "components": [f"../components/{name}" for name in components],
    }
    with tempfile.TemporaryDirectory(dir=K8S) as folder:
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(document))
        return _build(folder)


def changes_others(component: str) -> bool:
    """Tell whether a component changes what others bring, and does not only add to it."""
    path = K8S / "components" / component / "kustomization.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    generators = document.get("configMapGenerator", [])
    merges = [generator for generator in generators if generator.get("behavior") == "merge"]
    return bool(merges) or any(name in document for name in CHANGES)


CHANGES = ("patches", "replacements", "images", "labels", "replicas", "transformers")


def combinations_of_components() -> list[tuple[str, ...]]:
    """Return each component alone, each pair that may get in each other's way, and all of them.

    A component that only adds resources disturbs another one by a name that both have, and by
    nothing else: that shows when all are combined. A build takes half a second of a core.
    """
    singles = list(combinations(COMPONENTS, 1))
    pairs = list(combinations(filter(changes_others, COMPONENTS), 2))
    return [*singles, *pairs, tuple(COMPONENTS)]


def everything() -> list[Resource]:
    """Return the local overlay with the optional parts: every pod that one cluster can have."""
    return combined(("load-test", "notebooks", "pgbouncer"), on="local")


# ---------------------------------------------------------------- looking into manifests


def of_kind(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] in kinds]


def name_of(resource: Resource) -> str:
    return str(resource["metadata"]["name"])


def named(resources: list[Resource], kind: str, name: str) -> Resource:
    for resource in of_kind(resources, kind):
        if name_of(resource) == name:
            return resource
    raise KeyError(f"{kind} {name}")


TASK = "airflow-task"


def task_pods(resources: list[Resource]) -> dict[str, Resource]:
    """Return the pod of each kind of Airflow task; `airflow-task` is that of a task without one."""
    templates = {}
    for file, text in named(resources, "ConfigMap", "pod-template")["data"].items():
        kind = file.removesuffix(".yaml")
        name = f"{TASK}-{kind}"
        if kind == "pod":
            name = TASK
        templates[name] = dict(yaml.load(text, Loader=yaml.CSafeLoader))
    return templates


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """Return every pod that may run, by name, with metadata and spec; those of tasks too."""
    templates = task_pods(resources)
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec and "spec" in spec["template"]:
            templates[name_of(resource)] = spec["template"]
    return templates


def containers(pod: Resource) -> list[Resource]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def every_container(resources: list[Resource]) -> Iterator[tuple[str, Resource, Resource]]:
    """Yield (pod/container, container, pod)."""
    for name, pod in pods(resources).items():
        for container in containers(pod):
            yield f"{name}/{container['name']}", container, pod


# ---------------------------------------------------------------- rules

USES_KUBERNETES = {"airflow-scheduler", "airflow-api-server"}


def hardening(resources: list[Resource]) -> list[str]:
    """Pod Security `restricted` and what goes beyond it."""
    accounts = {name_of(account) for account in of_kind(resources, "ServiceAccount")}
    problems = []
    for name, pod in pods(resources).items():
        for problem in _pod_problems(name, pod["spec"], accounts):
            problems.append(f"{name}: {problem}")
    return problems


def _pod_problems(name: str, spec: Resource, accounts: set[str]) -> Iterator[str]:
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
    mounts_host = any("hostPath" in volume for volume in spec.get("volumes", []))
    if spec.get("hostNetwork") or spec.get("hostPID") or mounts_host:
        yield "reaches into the host"
    if context.get("fsGroup") != context.get("runAsGroup"):
        yield "may not write to its volumes"
    for container in containers({"spec": spec}):
        for problem in _container_problems(container):
            yield f"{container['name']}: {problem}"


def _container_problems(container: Resource) -> Iterator[str]:
    context = container.get("securityContext", {})
    resources = container.get("resources", {})
    mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
    if context.get("allowPrivilegeEscalation", True):
        yield "may gain privileges"
    if not context.get("readOnlyRootFilesystem"):
        yield "its root file system is writable"
    elif not {"/tmp", "/opt/airflow"} & mounted:
        yield "has no folder to write to"
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
    config_maps = {}
    for config_map in of_kind(resources, "ConfigMap"):
        config_maps[name_of(config_map)] = set(config_map.get("data", {}))
    existing = {"configMap": config_maps, "secret": secrets}
    problems = []
    for where, container, pod in every_container(resources):
        for kind, name, key in [*read_by(container), *mounted_by(pod)]:
            if name not in existing[kind]:
                problems.append(f"{where}: {kind} {name} does not exist")
            elif key and key not in existing[kind][name]:
                problems.append(f"{where}: {kind} {name} has no {key}")
    return problems


def read_by(container: Resource) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, key) of the ConfigMaps and Secrets in the environment of a container."""
    for source in container.get("envFrom", []):
        for kind in ("configMap", "secret"):
            reference = source.get(f"{kind}Ref")
            if reference and not reference.get("optional"):
                yield kind, reference["name"], ""
    for variable in container.get("env", []):
        for kind in ("configMap", "secret"):
            reference = variable.get("valueFrom", {}).get(f"{kind}KeyRef")
            if reference and not reference.get("optional"):
                yield kind, reference["name"], reference["key"]


def mounted_by(pod: Resource) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, "") of the ConfigMaps and Secrets that are volumes of a pod."""
    for volume in pod["spec"].get("volumes", []):
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "configMap", volume["configMap"]["name"], ""
        if "secret" in volume:
            yield "secret", volume["secret"]["secretName"], ""


def passwords(resources: list[Resource]) -> list[str]:
    """Secrets that are put into an address: one out of a vault may hold an @ or a /."""
    problems = []
    for where, container, _ in every_container(resources):
        variables = container.get("env", [])
        secret_names = set()
        for variable in variables:
            if "secretKeyRef" in variable.get("valueFrom", {}):
                secret_names.add(variable["name"])
        for variable in variables:
            value = variable.get("value", "")
            for name in re.findall(r"\$\((\w+)\)", value):
                if "://" in value and name in secret_names:
                    problems.append(f"{where}: {variable['name']} holds {name}")
    return problems


def mounts(resources: list[Resource]) -> list[str]:
    """Mounts without a volume, and volumes that nobody mounts."""
    claims = {}
    for workload in of_kind(resources, "StatefulSet"):
        templates = workload["spec"].get("volumeClaimTemplates", [])
        claims[name_of(workload)] = {name_of(template) for template in templates}
    problems = []
    for name, pod in pods(resources).items():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        volumes |= claims.get(name, set())
        used = set()
        for container in containers(pod):
            used |= {mount["name"] for mount in container.get("volumeMounts", [])}
        problems += [f"{name}: {volume}" for volume in volumes ^ used]
    return problems


def services(resources: list[Resource]) -> list[str]:
    """Services that select no pod, or a port that no container has."""
    problems = []
    every_pod = pods(resources)
    for service in of_kind(resources, "Service"):
        selector = service["spec"]["selector"].items()
        ports = set()
        for pod in every_pod.values():
            if selector <= pod["metadata"]["labels"].items():
                ports |= port_names(containers(pod))
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                problem = f"{name_of(service)}: no container has the port {port['targetPort']}"
                problems.append(problem)
    return problems


def port_names(containers_of_pod: list[Resource]) -> set[str]:
    names = set()
    for container in containers_of_pod:
        names |= {port["name"] for port in container.get("ports", [])}
    return names


# An address with a scheme, a user, or as the value of `url`; variables are looked at where they are
# set.
ADDRESS = re.compile(r"(?:https?://|@|url: )([a-z0-9-]+):(\d+)")
OUTSIDE = ".example.org"


def addresses(resources: list[Resource]) -> list[str]:
    """Addresses in settings, commands and configuration files that no Service answers."""
    answered = set()
    for service in of_kind(resources, "Service"):
        for port in service["spec"]["ports"]:
            answered.add((name_of(service), str(port["port"])))
    texts = []
    for config_map in of_kind(resources, "ConfigMap"):
        texts.append((f"ConfigMap {name_of(config_map)}", _as_yaml(config_map["data"])))
    for where, container, _ in every_container(resources):
        # An image is no address, though its digest looks like a port.
        texts.append((where, _as_yaml(container | {"image": ""})))
    used = set()
    for where, text in texts:
        for name, port in ADDRESS.findall(text):
            used.add((where, name, port))
    settings = named(resources, "ConfigMap", "settings")["data"]
    used.add(
        ("ConfigMap settings", settings["READMIT_POSTGRES_HOST"], settings["READMIT_POSTGRES_PORT"])
    )
    problems = []
    for where, name, port in sorted(used):
        is_outside = name[0].isdigit() or name.endswith(OUTSIDE)
        if not is_outside and (name, port) not in answered:
            problems.append(f"{where}: {name}:{port}")
    return problems


def _as_yaml(value: Resource) -> str:
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper))


PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def probes(resources: list[Resource], routes: dict[str, set[str]]) -> list[str]:
    """Long-running containers without probes; probes of ports or routes that do not exist."""
    problems = []
    for where, container, pod in every_container(resources):
        is_job = pod["spec"].get("restartPolicy") in ("Never", "OnFailure")
        if is_job or container in pod["spec"].get("initContainers", []):
            continue
        ports = port_names([container])
        own_probes = [container[kind] for kind in PROBES if kind in container]
        if not own_probes and ports:
            problems.append(f"{where}: has no probe")
        for probe in own_probes:
            http = probe.get("httpGet")
            if http and http["port"] not in ports:
                problems.append(f"{where}: probes the port {http['port']}")
            if http and http["path"] not in routes.get(container["name"], set()):
                problems.append(f"{where}: probes {http['path']}")
    return problems


def drains(resources: list[Resource]) -> list[str]:
    """Budgets that would keep a node from being emptied, and parts that a drain may remove."""
    budgets = {}
    for budget in of_kind(resources, "PodDisruptionBudget"):
        budgets[name_of(budget)] = budget["spec"]
    protected = {spec["selector"]["matchLabels"][NAME] for spec in budgets.values()}
    problems = []
    for deployment in of_kind(resources, "Deployment"):
        name = name_of(deployment)
        has_several_pods = deployment["spec"].get("replicas", 1) > 1
        if has_several_pods and name not in protected and name != "locust-worker":
            problems.append(f"{name}: a drain may take all of it at once")
    for name, spec in budgets.items():
        if not spec.get("maxUnavailable"):
            problems.append(f"{name}: allows no pod to go")
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            problems.append(f"{name}: waits for pods that are not ready")
    return problems


# `kubectl apply` keeps the whole object in an annotation of at most 256 KiB.
LARGEST = 250_000


def sizes(resources: list[Resource]) -> list[str]:
    """Objects that `kubectl apply` could not write."""
    problems = []
    for resource in resources:
        size = len(json.dumps(resource))
        if size > LARGEST:
            problems.append(f"{resource['kind']} {name_of(resource)}: {size} bytes")
    return problems


def images(resources: list[Resource]) -> set[str]:
    return {container["image"] for _, container, _ in every_container(resources)}


def built_images() -> set[str]:
    """Return what k8s/build-images.sh builds, with the version of pyproject.toml."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {f"localhost/readmit/{name}:{version}" for name in image_names()}


UNITS = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1.0}


def quantity(text: str | int) -> float:
    match = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|)", str(text))
    assert match, text
    return float(match[1]) * UNITS[match[2]]


def requested(resources: list[Resource], resource_name: str) -> float:
    """Return the request of the long-running pods and one task pod, for `cpu` or `memory`."""
    replicas = {}
    for deployment in of_kind(resources, "Deployment"):
        replicas[name_of(deployment)] = deployment["spec"].get("replicas", 1)
    jobs = [name_of(job) for job in of_kind(resources, "Job", "CronJob")]
    total = 0.0
    for name, pod in pods(resources).items():
        if name not in jobs and not name.startswith(f"{TASK}-"):
            total += _pod_request(pod, resource_name) * replicas.get(name, 1)
    return total


def _pod_request(pod: Resource, resource_name: str) -> float:
    """Return the larger of the containers' sum and of any init container."""

    def request(container: Resource) -> float:
        return quantity(container["resources"]["requests"][resource_name])

    together = sum(request(container) for container in pod["spec"]["containers"])
    for container in pod["spec"].get("initContainers", []):
        together = max(together, request(container))
    return together


# ---------------------------------------------------------------- network

Arrow = tuple[str, str, int]


def allowed(resources: list[Resource]) -> set[Arrow]:
    """Return (from, to, port) for all pairs of pods that both ends' policies let talk."""
    return _outgoing(resources) & _incoming(resources)


def one_sided(resources: list[Resource]) -> set[Arrow]:
    """Return arrows that only one end allows: they do nothing, so somebody meant something else."""
    return _outgoing(resources) ^ _incoming(resources)


def _outgoing(resources: list[Resource]) -> set[Arrow]:
    arrows = set()
    for part in _parts(resources):
        for peer, port in _peers(resources, part, "egress", "to"):
            arrows.add((part, peer, port))
    return arrows


def _incoming(resources: list[Resource]) -> set[Arrow]:
    arrows = set()
    for part in _parts(resources):
        for peer, port in _peers(resources, part, "ingress", "from"):
            arrows.add((peer, part, port))
    return arrows


def _parts(resources: list[Resource]) -> set[str]:
    return {pod["metadata"]["labels"][NAME] for pod in pods(resources).values()}


def _selected_part(policy: Resource) -> str | None:
    name = policy["spec"]["podSelector"].get("matchLabels", {}).get(NAME)
    if name is None:
        return None
    return str(name)


def _peers(
    resources: list[Resource], part: str, direction: str, key: str
) -> Iterator[tuple[str, int]]:
    for policy in of_kind(resources, "NetworkPolicy"):
        if _selected_part(policy) != part:
            continue
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get(key, []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    for port in rule["ports"]:
                        yield peer["podSelector"]["matchLabels"][NAME], port["port"]


def denied_by_default(resources: list[Resource]) -> bool:
    deny_all = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return deny_all in [policy["spec"] for policy in of_kind(resources, "NetworkPolicy")]


def _is_outside(peer: Resource) -> bool:
    return "ipBlock" in peer or "namespaceSelector" in peer


def from_outside(resources: list[Resource]) -> set[tuple[str, int]]:
    """Return (part, port) that addresses or namespaces outside of ours may reach."""
    reachable = set()
    for policy in of_kind(resources, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"].get("matchLabels", {})
        part = labels.get(NAME, next(iter(labels), "*"))
        for rule in policy["spec"].get("ingress", []):
            peers = rule.get("from", [{"ipBlock": "any"}])
            if any(_is_outside(peer) for peer in peers):
                reachable |= {(part, port["port"]) for port in rule.get("ports", [])}
    return reachable


def to_outside(resources: list[Resource]) -> set[str]:
    """Return the parts that may reach addresses outside of the namespace, DNS apart."""
    parts = set()
    for policy in of_kind(resources, "NetworkPolicy"):
        if name_of(policy) == "dns":
            continue
        for rule in policy["spec"].get("egress", []):
            peers = rule.get("to", [{"ipBlock": "any"}])
            if any("ipBlock" in peer for peer in peers):
                parts.add(_selected_part(policy) or "*")
    return parts


def pictured() -> set[Arrow]:
    """Return the arrows of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    arrows = set()
    for source, port, target in re.findall(r"(?m)^\s*([\w-]+) -->\|(\d+)\| ([\w-]+)$", text):
        arrows.add((source, target, int(port)))
    return arrows
