"""The checks of `make k8s-up` before it builds images; the cluster is a list of objects."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from k8s import cluster, cluster_checks, install, pod_reasons
from k8s.cluster import ClusterFailed
from stack.progress import Progress
from tests.support import k8s

READY = {"type": "Ready", "status": "True"}


def node(*conditions: dict[str, str], labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": "n1", "labels": labels or {}},
        "spec": {},
        "status": {
            "conditions": list(conditions or [READY]),
            "allocatable": {"cpu": "2", "memory": "24Gi"},
        },
    }


def storage_class(name: str, is_default: bool) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": str(is_default).lower()}
    return {"metadata": {"name": name, "annotations": annotations}}


class Listed(cluster.Cluster):
    """A cluster that has these objects, by the kind that kubectl gets."""

    objects: dict[str, list[Any]]

    def get(self, *words: str) -> list[Any]:
        return self.objects.get(words[0], [])


def problems(**objects: list[Any]) -> list[str]:
    listed = Listed("mine")
    defaults = {"nodes": [node()], "storageclasses": [storage_class("standard", True)]}
    object.__setattr__(listed, "objects", defaults | objects)
    return cluster_checks.problems(listed, k8s.overlay("local"))


def test_a_cluster_with_room_and_a_default_class_is_fine() -> None:
    assert problems() == []


def test_a_missing_default_class_is_reported_with_the_command_that_helps() -> None:
    [line] = problems(storageclasses=[storage_class("hostpath", False)])
    assert "no default StorageClass" in line
    assert "data-postgres-0" in line
    assert "backups" in line
    assert "kubectl patch storageclass hostpath -p '{" in line
    microk8s = node(READY, labels={"microk8s.io/cluster": "true"})
    text = "\n".join(problems(nodes=[microk8s], storageclasses=[]))
    assert re.search("(?m)microk8s enable hostpath-storage$", text)


def test_claims_that_are_bound_need_no_class() -> None:
    claims: list[dict[str, Any]] = []
    for name in cluster_checks.claim_names(k8s.overlay("local")):
        claims.append({"metadata": {"name": name}, "status": {"phase": "Bound"}})
    assert claims
    assert problems(storageclasses=[], persistentvolumeclaims=claims) == []
    assert problems(storageclasses=[], persistentvolumeclaims=claims[1:]) != []


def test_microk8s_without_dns_is_reported() -> None:
    microk8s = node(READY, labels={"microk8s.io/cluster": "true"})
    assert problems(nodes=[microk8s]) == [
        "the cluster resolves no names of Services: microk8s enable dns"
    ]
    dns = {"metadata": {"name": "kube-dns"}}
    assert problems(nodes=[microk8s], services=[dns]) == []


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"type": "DiskPressure", "status": "True"}, "crictl rmi --prune"),
        ({"type": "MemoryPressure", "status": "True"}, "larger node"),
        (
            {"type": "Ready", "status": "Unknown", "message": "kubelet is silent"},
            "kubelet is silent",
        ),
    ],
)
def test_a_node_out_of_disk_or_memory_is_named(condition: dict[str, str], text: str) -> None:
    [line] = problems(nodes=[node(condition)])
    assert line.startswith("node n1 ")
    assert text in line
    assert problems(nodes=[node(condition), node()]) == []  # another node takes the pods


def test_a_node_that_is_drained_is_named() -> None:
    drained = node()
    drained["spec"]["unschedulable"] = True
    assert problems(nodes=[drained]) == ["node n1 takes no pods: kubectl uncordon n1"]


def test_requests_that_find_no_room_are_reported() -> None:
    small = node()
    small["status"]["allocatable"] = {"cpu": "500m", "memory": "2000000Ki"}
    lines = problems(nodes=[small])
    assert len(lines) == 2
    assert "CPU" in lines[0]
    assert "GiB of memory" in lines[1]
    container = {"resources": {"requests": {"cpu": "1900m", "memory": "1Gi"}}}
    greedy = {
        "metadata": {"namespace": "elsewhere"},
        "spec": {"containers": [container]},
        "status": {"phase": "Running"},
    }
    assert len(problems(pods=[greedy])) == 1
    own = greedy | {"metadata": {"namespace": "readmit"}}
    assert problems(pods=[own]) == []  # an upgrade: they are ours


@contextmanager
def registry(status: int = 200) -> Iterator[str]:
    """Serve plain HTTP, as a registry of MicroK8s or kind does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_podman_pushes_to_a_registry_by_http_and_docker_needs_no_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[tuple[str, ...]] = []

    def run(*words: str) -> str:
        commands.append(words)
        return ""

    monkeypatch.setattr(cluster, "run", run)
    for engine in ("podman", "docker"):
        monkeypatch.setattr(cluster, "container_engine", partial(str, engine))
        with registry(401) as host:
            assert cluster_checks.registry_problem(f"{host}/readmit", engine) == ""
            cluster.push(f"{host}/readmit/ui:0.1.0")
            cluster.push(f"{host}/readmit/ui:0.1.0")
    by_podman = commands[:2]
    by_docker = commands[2:]
    assert len(by_podman) == len(by_docker) == 2
    for words in by_podman:
        assert words[2] == "--tls-verify=false"
    for words in by_docker:
        assert not words[2].startswith("--")


def test_a_registry_that_does_not_answer_is_reported_before_images_are_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with registry() as host:
        gone = host
    assert "answers neither by HTTPS nor by HTTP" in cluster_checks.registry_problem(gone, "podman")
    monkeypatch.setattr(cluster_checks, "answers", lambda url: url.startswith("http://"))
    line = cluster_checks.registry_problem("registry.ward:5000/readmit", "docker")
    assert "insecure-registries" in line
    assert cluster_checks.registry_problem("localhost:5000/readmit", "docker") == ""
    monkeypatch.setattr(cluster_checks, "answers", lambda _: False)
    line = cluster_checks.registry_problem("localhost:32000/readmit", "podman")
    assert line.endswith("microk8s enable registry")


def test_the_cluster_is_checked_before_images_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Listed("mine")
    object.__setattr__(listed, "objects", {"nodes": [node()]})
    monkeypatch.setattr(install, "build_images", lambda *_: pytest.fail("images were built"))
    monkeypatch.delenv("IMAGES", raising=False)
    with pytest.raises(ClusterFailed, match="no default StorageClass"):
        install.up(listed, install.Choices(), Progress())


def test_a_user_who_may_not_list_nodes_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ClusterFailed('nodes is forbidden: User "x" cannot list resource "nodes"')

    monkeypatch.setattr(cluster_checks, "problems", refuse)
    install.check(cluster.Cluster("mine"), [], "", Progress())
    assert "not checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {
                "waiting": {
                    "reason": "ImagePullBackOff",
                    "message": "http: server gave HTTP response to HTTPS client",
                }
            },
            "hosts.toml",
        ),
        (
            {
                "waiting": {
                    "reason": "CreateContainerConfigError",
                    "message": 'secret "x" not found',
                }
            },
            'secret "x" not found',
        ),
        ({"waiting": {"reason": "PodInitializing"}}, ""),
        ({"running": {}}, ""),
    ],
)
def test_a_pod_that_does_not_start_says_why(status: dict[str, Any], text: str) -> None:
    pod = {
        "metadata": {"name": "ui-1"},
        "status": {"containerStatuses": [{"name": "ui", "state": status}]},
    }
    assert text in pod_reasons.reason([pod])
    assert bool(pod_reasons.reason([pod])) == bool(text)


def test_a_pod_that_ended_names_its_exit_code_and_its_log() -> None:
    died = {
        "name": "ui",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }
    pod = {"metadata": {"name": "ui-1"}, "status": {"containerStatuses": [died]}}
    reason = pod_reasons.reason([pod])
    assert "it ended with 137 OOMKilled" in reason
    assert "logs --previous ui-1" in reason
    assert reason.endswith("(a larger memory limit)")


def test_a_pod_that_a_full_node_has_evicted_says_so() -> None:
    message = "The node was low on resource: ephemeral-storage."
    pod = {
        "metadata": {"name": "ui-1"},
        "status": {"phase": "Failed", "reason": "Evicted", "message": message},
    }
    assert pod_reasons.reason([pod]) == f"Evicted: {message} (free disk or memory on the node)"
