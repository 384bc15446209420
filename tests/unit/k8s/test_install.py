"""make k8s-up without a cluster: kubectl is a script that logs its arguments."""

import json
import os
import re
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from k8s import cluster, install, installation, overlays, pod_stamps
from k8s.installation import Choices
from k8s.make_secrets import IDENTITIES, missing, new_values, secret_of
from readmit import storage
from readmit.ops.bootstrap import LOGIN_ROLES
from stack.progress import Progress
from tests.support import k8s

# What is created and applied is kept.
KUBECTL = """#!/bin/sh
echo "$@" >>"{log}"
case "$*" in
*"get secrets"*) cat "{secrets}" ;;
*"get "*) echo '{{"items": []}}' ;;
*"create --filename"*) cat >"{created}" ;;
*"set-last-applied"*) cat >"{created}.recorded" ;;
*"--server-side"*) cat >"{created}.choices" ;;
*"replace --f"*) cat >"{created}.replaced" ;;
*"apply --f"*) cat >"{created}.applied" ;;
esac
"""


def put_secrets(folder: Path, values_of: dict[str, dict[str, str]]) -> None:
    """Write the Secrets that the kubectl of the fixture finds."""
    items = []
    for name, values in values_of.items():
        data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        items.append({"metadata": {"name": name}, "data": data})
    (folder / "secrets").write_text(json.dumps({"items": items}))


@pytest.fixture
def kubectl_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = tmp_path / "log"
    script = tmp_path / "kubectl"
    secrets = tmp_path / "secrets"
    script.write_text(KUBECTL.format(log=log, created=tmp_path / "created", secrets=secrets))
    put_secrets(tmp_path, {"role-serving": {"A": "old"}})
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return log


def workload(name: str, config_map: str, kind: str = "Deployment") -> dict[str, Any]:
    volumes = [{"name": "v", "configMap": {"name": config_map}}]
    spec = {
        "containers": [{"name": "c", "image": f"localhost/readmit/{name}:1"}],
        "volumes": volumes,
    }
    return {
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {}, "spec": spec}},
    }


def config(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def stamped(
    manifests: list[dict[str, Any]], built: dict[str, str], running: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the annotations of the pods by the name of their workload."""
    pod_stamps.stamp(manifests, built, running)
    annotations = {}
    for manifest in manifests:
        if manifest["kind"] != "ConfigMap":
            pod = manifest["spec"]["template"]
            annotations[k8s.name_of(manifest)] = pod["metadata"]["annotations"]
    return annotations


def created_names(path: Path) -> set[str]:
    return set(map(k8s.name_of, json.loads(path.read_text())["items"]))


def secrets_by_name(present: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the values of the Secrets that are missing when these are present."""
    return {k8s.name_of(secret): secret["stringData"] for secret in missing(present)}


def test_apply_keeps_secrets_and_stamps_pods_with_their_configuration(
    kubectl_log: Path, tmp_path: Path
) -> None:
    documents = [{"kind": "Namespace", "metadata": {"name": "readmit"}}, workload("ui", "settings")]
    install.apply(cluster.Cluster("here"), documents, {}, Choices(dataset="upload://a.zip"))
    commands = []
    for line in kubectl_log.read_text().splitlines():
        command = line.removeprefix("--context=here --namespace=readmit ")
        commands.append(command.split(" --")[0])
    assert commands == [
        "apply",
        "get secrets",
        "create",
        "apply",
        f"get {install.RESTARTED}",
        "delete job set-up",
        "apply",
        "apply set-last-applied",
    ]
    expected = {*new_values(), IDENTITIES} - {"role-serving"}
    assert created_names(tmp_path / "created") == expected
    *_, applied = json.loads((tmp_path / "created.applied").read_text())["items"]
    assert "readmit/configuration" in applied["spec"]["template"]["metadata"]["annotations"]


def test_rights_of_an_earlier_release_are_replaced_once_and_the_store_reads_them(
    kubectl_log: Path, tmp_path: Path
) -> None:
    present = new_values()
    present[IDENTITIES] = {"identities.json": json.dumps({"identities": []})}
    put_secrets(tmp_path, present)
    namespace = {"kind": "Namespace", "metadata": {"name": "readmit"}}
    store = workload("s3", "settings", "StatefulSet")
    restart = "rollout restart statefulset/s3"
    install.apply(cluster.Cluster("here"), [namespace, store], {}, Choices())
    assert restart in kubectl_log.read_text()
    [replaced] = json.loads((tmp_path / "created.replaced").read_text())["items"]
    assert k8s.name_of(replaced) == IDENTITIES

    present[IDENTITIES] = replaced["stringData"]
    put_secrets(tmp_path, present)
    kubectl_log.unlink()
    install.apply(cluster.Cluster("here"), [namespace, store], {}, Choices())
    assert restart not in kubectl_log.read_text()
    assert " replace " not in kubectl_log.read_text()


def test_a_pod_that_reads_a_changed_configmap_is_replaced() -> None:
    def installed(port: str) -> dict[str, Any]:
        maps = [config("settings", READMIT_API_PORT=port), config("mlflow-auth", file="x")]
        workloads = [workload("ui", "settings"), workload("mlflow", "mlflow-auth", "StatefulSet")]
        return stamped([*maps, *workloads], {}, [])

    before = installed("1")
    after = installed("2")
    assert installed("1") == before
    assert before["mlflow"] == after["mlflow"]
    assert before["ui"] != after["ui"]


def test_a_pod_whose_image_has_the_same_name_and_other_content_is_replaced() -> None:
    image = "localhost/readmit/ui:1"
    running = [workload("ui", "settings")]
    first = stamped(running, {image: "layers"}, [])
    assert stamped([workload("ui", "settings")], {image: "layers"}, running) == first
    assert stamped([workload("ui", "settings")], {}, running) == first  # IMAGES=skip
    assert stamped([workload("ui", "settings")], {image: "other layers"}, running) != first


def test_kubectl_reads_a_text_that_looks_like_a_number_as_text() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the PATH")
    text = cluster.as_list(
        [{"apiVersion": "v1"} | config("c", key="12e3", other="1_0", third="0x1F")]
    )
    output = cluster.run(
        "kubectl", "annotate", "--local", "--filename=-", "a=b", "--output=json", text=text
    )
    assert json.loads(output)["data"] == {"key": "12e3", "other": "1_0", "third": "0x1F"}


def test_the_message_of_a_failing_command_is_raised(kubectl_log: Path) -> None:
    (kubectl_log.parent / "kubectl").write_text("#!/bin/sh\necho 'no such context' >&2; exit 1\n")
    with pytest.raises(cluster.ClusterFailed, match="no such context"):
        cluster.Cluster("nowhere").kubectl("get", "pods")


def test_every_kind_of_reference_is_noticed() -> None:
    reference = {"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "A"}}}
    containers = [
        {"env": [reference]},
        {"envFrom": [{"configMapRef": {"name": "airflow-settings"}}]},
    ]
    assert pod_stamps.config_map_names({"spec": {"initContainers": containers}}) == {
        "settings",
        "airflow-settings",
    }


WORKLOADS = ["job/set-up", "statefulset/mlflow", "deployment/ui"]


def test_workloads_that_must_be_ready_are_named_and_optional_parts_are_not() -> None:
    manifests = [
        {"kind": "Service", "metadata": {"name": "ui"}},
        workload("grafana", "x"),
        workload("mlflow", "x", "StatefulSet"),
        workload("ui", "x"),
        {"kind": "CronJob", "metadata": {"name": "backup"}},
    ]
    assert install.workload_names(manifests) == WORKLOADS


def test_every_workload_is_awaited_by_kubectl(kubectl_log: Path) -> None:
    install.await_workloads(cluster.Cluster("here"), WORKLOADS, Progress())
    commands = [line.split("readmit ")[1] for line in kubectl_log.read_text().splitlines()]
    assert commands == [
        "wait --for=condition=complete job/set-up --timeout=10s",
        "rollout status statefulset/mlflow --timeout=10s",
        "rollout status deployment/ui --timeout=10s",
    ]


LATE = """#!/bin/sh
echo "$@" >>"{log}"
case "$*" in
*"rollout status statefulset/mlflow"*) echo "error: timed out waiting for the condition" >&2; exit 1 ;;
*"get pods"*"name=mlflow --output=json") echo '{{"items": {items}}}' ;;
*"get pods"*"name=mlflow"*) echo "{pods}" ;;
esac
"""
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
PENDING = {
    "metadata": {"name": "mlflow-0"},
    "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": UNBOUND}]},
}


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        (
            "mlflow-0   0/1   CrashLoopBackOff   5   3m",
            "mlflow-0   0/1   CrashLoopBackOff   5   3m",
        ),
        ("", "it has no pod"),
    ],
)
def test_a_late_workload_is_named_with_the_state_of_its_pods(
    kubectl_log: Path, pods: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SECONDS_FOR_ROLLOUT", 0)
    (kubectl_log.parent / "kubectl").write_text(LATE.format(pods=pods, items="[]", log=kubectl_log))
    message = re.escape(f"statefulset/mlflow is not ready: {state}; kubectl -n readmit describe")
    with pytest.raises(cluster.ClusterFailed, match=message):
        install.await_workloads(cluster.Cluster("here"), WORKLOADS, Progress())


def test_the_waiting_line_has_the_schedulers_reason(
    kubectl_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SECONDS_FOR_ROLLOUT", 1)
    shown: list[str] = []
    monkeypatch.setattr(Progress, "show", lambda _, news: shown.append(news))
    items = json.dumps([PENDING])
    (kubectl_log.parent / "kubectl").write_text(
        LATE.format(pods="mlflow-0 0/1 Pending", items=items, log=kubectl_log)
    )
    with pytest.raises(cluster.ClusterFailed, match="unbound immediate PersistentVolumeClaims"):
        install.await_workloads(cluster.Cluster("here"), WORKLOADS, Progress())
    waiting = f"waiting for statefulset/mlflow: {UNBOUND} (kubectl get storageclass"
    assert any(news.startswith(waiting) for news in shown)


def test_a_file_of_this_machine_has_a_name_that_pods_can_know() -> None:
    assert installation.uploaded("/home/me/diabetic_data.zip") == "upload://diabetic_data.zip"
    assert installation.uploaded("https://example.org/data.zip") == "https://example.org/data.zip"


def test_a_source_stays_until_another_is_named() -> None:
    present = {"DATASET": "upload://mine.zip"}
    assert installation.choose({"DATASET": ""}, present).dataset == "upload://mine.zip"
    another = installation.choose({"DATASET": "/home/me/a.zip"}, present)
    assert another.dataset == "upload://a.zip"
    assert installation.choose({}, {}) == Choices()


def test_overlay_components_and_registry_stay_until_others_are_named() -> None:
    present = {"OVERLAY": "production", "COMPONENTS": "load-test", "REGISTRY": "host/path"}
    earlier = Choices(overlay="production", components="load-test", registry="host/path")
    assert installation.choose({}, present) == earlier
    without = installation.choose({"COMPONENTS": "none", "REGISTRY": "none"}, present)
    assert without == Choices(overlay="production")
    assert installation.config_map(earlier)["data"] == present


def test_secrets_are_fresh_and_hold_a_password_for_each_role() -> None:
    first = secrets_by_name({})
    second = secrets_by_name({})
    name_of_role = {"postgres": "postgres-admin"}
    for role in ("postgres", *LOGIN_ROLES):
        name = name_of_role.get(role, f"role-{role}")
        assert len(first[name][f"{role.upper()}_PASSWORD"]) >= 24
        assert first[name] != second[name]
    entries = json.loads(first[IDENTITIES]["identities.json"])["identities"]
    by_name = {entry["name"]: entry["credentials"][0] for entry in entries}
    assert by_name["admin"]["accessKey"] == first["object-store"]["AWS_ACCESS_KEY_ID"]
    assert by_name["docs"]["secretKey"] == first["s3-docs"]["S3_DOCS_SECRET_ACCESS_KEY"]


def test_the_stores_file_follows_existing_keys() -> None:
    store = {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "secret"}
    [secret] = missing({**new_values(), "object-store": store})
    assert '"accessKey": "known"' in secret["stringData"]["identities.json"]


def test_an_upgrade_gives_each_part_an_identity_that_the_store_knows() -> None:
    """An earlier release had one Secret with keys for all parts, and a file of one identity."""
    present = new_values()
    for identity in storage.IDENTITIES:
        if identity != "admin":
            del present[secret_of(identity)]
    new_secrets = secrets_by_name(present)
    entries = json.loads(new_secrets[IDENTITIES]["identities.json"])["identities"]
    keys = {entry["name"]: entry["credentials"][0]["secretKey"] for entry in entries}
    assert keys["admin"] == present["object-store"]["AWS_SECRET_ACCESS_KEY"]
    assert keys["api"] == new_secrets["s3-api"]["S3_API_SECRET_ACCESS_KEY"]


def test_no_cluster_is_a_message_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(cluster.ClusterFailed, match="kind, minikube or k3d"):
        cluster.find("", "")
    assert cluster.find("mine", "") == cluster.Cluster("mine")


def test_a_given_context_of_a_known_tool_takes_images_by_that_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.find("kind-theirs", "").tool == ""  # the tool is not on this machine
    profiles = json.dumps({"valid": [{"Name": "minikube"}]})
    for tool in cluster.TOOLS:
        (tmp_path / tool).write_text(f"#!/bin/sh\necho '{profiles}'\n")
        (tmp_path / tool).chmod(0o755)
    assert cluster.find("kind-theirs", "") == cluster.Cluster("kind-theirs", "kind", "theirs")
    assert cluster.find("k3d-mine", "") == cluster.Cluster("k3d-mine", "k3d", "mine")
    assert cluster.find("minikube", "") == cluster.Cluster("minikube", "minikube", "minikube")
    assert cluster.find("gke_project_zone_name", "").tool == ""


def test_a_cluster_that_cannot_get_the_images_fails_at_once() -> None:
    with pytest.raises(cluster.ClusterFailed, match="REGISTRY="):
        install.build_images(
            cluster.Cluster("far"), "image: localhost/readmit/ui:0.1.0", "", Progress()
        )


def test_pages_are_at_the_nodes_address(kubectl_log: Path) -> None:
    addresses = [
        {"type": "Hostname", "address": "n"},
        {"type": "InternalIP", "address": "172.18.0.2"},
    ]
    nodes = json.dumps({"items": [{"status": {"addresses": addresses}}]})
    (kubectl_log.parent / "kubectl").write_text(f"#!/bin/sh\necho '{nodes}'\n")
    assert cluster.Cluster("kind-theirs", "kind", "theirs").host() == "172.18.0.2"
    assert cluster.Cluster("kind-readmit", "kind").host() == "127.0.0.1"


def test_a_registry_is_where_all_our_images_come_from() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the PATH")
    resources = k8s.load(
        overlays.kustomize(overlays.write_overlay("local", [], "localhost:5001/mine"))
    )
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    assert settings[overlays.WORKER_IMAGE] == "localhost:5001/mine/pipeline"
    assert settings["AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG"] == "0.1.0"
    registries = set()
    for name, pod in k8s.pods(resources).items():
        if not name.startswith(k8s.TASK):
            for container in k8s.containers(pod):
                registries.add(container["image"].rpartition("/")[0])
    assert registries == {"localhost:5001/mine", "docker.io/grafana"}


def test_the_addresses_are_those_of_the_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.Cluster, "host", lambda _: "172.18.0.2")
    local = install.pages(cluster.Cluster("mine"), k8s.overlay("local"))
    assert local["mlflow"] == "http://172.18.0.2:30500"
    assert local.keys() == {service for service, _, _ in install.PAGES.values()}
    production = install.pages(cluster.Cluster("mine"), k8s.overlay("production"))
    assert production["ui"] == "https://readmit.example.org"
    assert production.keys() == local.keys()
