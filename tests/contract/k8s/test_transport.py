"""Secrets on their way between parts and inside a pod: only one part may read them."""

from collections.abc import Callable

import pytest

from k8s import task_pods
from readmit.ops.bootstrap import LOGIN_ROLES, foreign_sslmode
from tests.support import k8s

POSTGRES_SECRETS = {"postgres-admin", *(f"role-{role}" for role in LOGIN_ROLES)}
CLIENTS = {
    "airflow-api-server",
    "airflow-dag-processor",
    "airflow-scheduler",
    *(f"airflow-task-{kind}" for kind, pod in task_pods.KINDS.items() if pod.roles),
    "airflow-triggerer",
    "api",
    "backup",
    "grafana",
    "mlflow",
    "old-runs",
    "old-trainings",
    "postgres-exporter",
    "restore",
    "set-up",
}
Break = Callable[[list[k8s.Resource]], object]


def unverified(resources: list[k8s.Resource]) -> list[str]:
    """Return the containers with a password of Postgres that would send it to any server."""
    settings = k8s.named(resources, "ConfigMap", "settings")["data"]
    problems = []
    # Of our own code, and of libpq in the programs of others.
    for name in ("READMIT_PGSSLMODE", "PGSSLMODE"):
        if settings[name] != "verify-full":
            problems.append(f"{name} is {settings[name]}")
    if settings["READMIT_PGSSLROOTCERT"] != settings["PGSSLROOTCERT"]:
        problems.append("two authorities")
    folder, _, name = settings["PGSSLROOTCERT"].rpartition("/")
    if config_maps_with(name, resources) != ["postgres-ca"]:
        problems.append("no authority")
    for where, container, pod in k8s.every_container(resources):
        if not secrets_of(container) & POSTGRES_SECRETS:
            continue
        if not reads_settings(container):
            problems.append(f"{where}: does not read PGSSLMODE")
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        volume = volumes.get(mounted.get(folder, ""), {})
        if volume.get("configMap", {}).get("name") != "postgres-ca":
            problems.append(f"{where}: has no authority")
    return problems


def config_maps_with(file: str, resources: list[k8s.Resource]) -> list[str]:
    names = []
    for config_map in k8s.of_kind(resources, "ConfigMap"):
        if file in config_map["data"]:
            names.append(k8s.name_of(config_map))
    return names


def secrets_of(container: k8s.Resource) -> set[str]:
    return {name for kind, name, _ in k8s.read_by(container) if kind == "secret"}


def reads_settings(container: k8s.Resource) -> bool:
    whole = {"configMapRef": {"name": "settings"}} in container.get("envFrom", [])
    keys = {key for kind, name, key in k8s.read_by(container) if name == "settings"}
    return whole or {"READMIT_PGSSLMODE", "READMIT_PGSSLROOTCERT"} <= keys


def test_production_verifies_the_postgres_server() -> None:
    assert unverified(k8s.overlay("production")) == []


def test_every_client_of_postgres_is_checked() -> None:
    clients = set()
    for where, container, _ in k8s.every_container(k8s.overlay("production")):
        if secrets_of(container) & POSTGRES_SECRETS:
            clients.add(where.partition("/")[0])
    assert clients == CLIENTS


def test_each_client_of_the_object_store_has_the_authority() -> None:
    """An external store may have a certificate of the same authority: READMIT_S3_CA_FILE."""
    clients = set()
    for where, container, _ in k8s.every_container(k8s.everything()):
        names = secrets_of(container)
        if any(name.startswith("s3-") or name == "object-store" for name in names):
            clients.add(where.partition("/")[0])
            mount = {"name": "postgres-ca", "mountPath": "/etc/postgres-ca", "readOnly": True}
            assert mount in container["volumeMounts"], where
    assert {"api", "docs", "mlflow", "backup", "airflow-triggerer"} <= clients


def settings_with(**values: str) -> Break:
    def change(resources: list[k8s.Resource]) -> None:
        k8s.named(resources, "ConfigMap", "settings")["data"].update(values)

    return change


def without_authority(resources: list[k8s.Resource]) -> None:
    resources.remove(k8s.named(resources, "ConfigMap", "postgres-ca"))


def without_mount(resources: list[k8s.Resource]) -> None:
    container = k8s.pods(resources)["api"]["spec"]["containers"][0]
    mount = {"name": "postgres-ca", "mountPath": "/etc/postgres-ca", "readOnly": True}
    container["volumeMounts"].remove(mount)


def without_volume(resources: list[k8s.Resource]) -> None:
    k8s.pods(resources)["mlflow"]["spec"]["volumes"].clear()


def without_settings(resources: list[k8s.Resource]) -> None:
    k8s.pods(resources)["set-up"]["spec"]["containers"][0]["envFrom"].clear()


BROKEN: dict[str, Break] = {
    "encrypted, not verified": settings_with(PGSSLMODE="require"),
    "in clear": settings_with(PGSSLMODE="disable"),
    "our own code, not verified": settings_with(READMIT_PGSSLMODE="require"),
    "another authority": settings_with(READMIT_PGSSLROOTCERT="/tmp/ca.crt"),
    "no authority": without_authority,
    "not mounted": without_mount,
    "another volume": without_volume,
    "no settings": without_settings,
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unverified_server_is_noticed(name: str) -> None:
    resources = k8s.overlay("production")
    BROKEN[name](resources)
    assert unverified(resources)


def test_the_database_encrypts_its_connections_to_itself() -> None:
    assert foreign_sslmode("verify-full") == "require"
    assert foreign_sslmode("require") == "require"
    assert foreign_sslmode(None) == "prefer"


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_the_copy_of_airflows_passwords_lies_in_memory(name: str) -> None:
    resources = k8s.overlay(name)
    settings = k8s.named(resources, "ConfigMap", "airflow-settings")["data"]
    path = settings["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    pod = k8s.pods(resources)["airflow-api-server"]
    [volume] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "passwords"]
    assert volume["emptyDir"]["medium"] == "Memory"
    readers = [pod["spec"]["containers"][0]]
    for container in k8s.containers(pod):
        if path in str(container["command"]):
            readers.append(container)
    assert len(readers) == 2
    for container in readers:
        mount = {"name": "passwords", "mountPath": path.rpartition("/")[0]}
        assert mount in container["volumeMounts"]
