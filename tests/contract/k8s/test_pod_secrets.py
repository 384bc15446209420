"""A pod holds the secrets of its row in docs/architecture.md, as a program of one machine does."""

import pytest

from k8s.make_secrets import missing
from readmit.settings import ObjectStoreSettings, all_names, variable
from tests.support import k8s
from tests.support.secret_table import secrets_of_programs

TABLE = secrets_of_programs()
del TABLE["watchdog"]  # of one machine; Kubernetes has probes
del TABLE["api-socket"]  # of one machine; a Service holds the address
del TABLE["clock"]  # of one machine; Kubernetes has CronJobs
# Keys of Secrets that are settings of the stack under another name, or public.
SAME = {
    "AIRFLOW__CORE__FERNET_KEY": "READMIT_AIRFLOW_FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET": "READMIT_AIRFLOW_JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY": "READMIT_AIRFLOW_SECRET_KEY",
    "JUPYTER_TOKEN": "READMIT_NOTEBOOK_TOKEN",
    "NOTEBOOK_API_KEY": "READMIT_API_KEY",
}
NO_SECRETS = {
    "READMIT_MLFLOW_TRACKING_USERNAME",
    "READMIT_MODEL_PUBLIC_KEY",
    "READMIT_API_KEYS",  # hashes
}
# On one machine these are in a file, or only the pod has them.
BY_POD = {
    "postgres": {"READMIT_POSTGRES_PASSWORD"},
}
# Log-ins of monitoring, which asks nobody on Kubernetes: its network policies say who reaches it.
OF_ONE_MACHINE = {"READMIT_MONITORING_PASSWORD", "READMIT_PUSHGATEWAY_PASSWORD"}
# What a mounted file of a Secret holds.
IN_FILES = {"alertmanager": {"READMIT_ALERT_WEBHOOK_URL", "READMIT_ALERT_SMTP_PASSWORD"}}


def held(container: k8s.Resource) -> set[str]:
    """Return the secrets of a container, by the names that one machine has for them."""
    secrets = missing({})
    keys: set[str] = set()
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            keys |= set(k8s.named(secrets, "Secret", source["secretRef"]["name"])["stringData"])
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            keys.add(reference["key"])
    return {SAME.get(key, variable(key)) for key in keys} - NO_SECRETS


@pytest.mark.parametrize("name", TABLE)
def test_a_pod_has_its_own_secrets_and_no_others(name: str) -> None:
    pod = k8s.pods(k8s.everything())[name]["spec"]
    in_files: set[str] = set()
    for volume in pod.get("volumes", []):
        in_files |= IN_FILES.get(volume.get("secret", {}).get("secretName"), set())
    expected = TABLE[name] - OF_ONE_MACHINE | BY_POD.get(name, set())
    assert held(pod["containers"][0]) | in_files == expected


@pytest.mark.parametrize("name", k8s.OVERLAYS)
def test_every_pod_of_a_program_is_in_the_table(name: str) -> None:
    """Jobs hold what they create or copy; those of the optional parts belong to their users."""
    resources = k8s.overlay(name)
    jobs = set(map(k8s.name_of, k8s.of_kind(resources, "Job", "CronJob")))
    assert set(k8s.pods(resources)) - jobs <= set(TABLE)


@pytest.mark.parametrize("name", ["everything", *k8s.OVERLAYS])
def test_a_setting_out_of_a_secret_has_its_prefix(name: str) -> None:
    """Without it nothing reads the variable: MLflow's user `api` was not created."""
    resources = k8s.everything() if name == "everything" else k8s.overlay(name)
    keys_of = {k8s.name_of(secret): secret["stringData"].keys() for secret in missing({})}
    unread = set()
    for where, container, _ in k8s.every_container(resources):
        for source in container.get("envFrom", []):
            prefix = source.get("prefix", "")
            for key in keys_of.get(source.get("secretRef", {}).get("name"), ()):
                if variable(key) in all_names() and prefix + key not in all_names():
                    unread.add((where, key))
    assert unread == set()


def test_a_secret_too_many_is_noticed() -> None:
    container = k8s.pods(k8s.overlay("local"))["docs"]["spec"]["containers"][0]
    container["envFrom"].append({"secretRef": {"name": "postgres-admin"}})
    assert held(container) - TABLE["docs"] == {"READMIT_POSTGRES_PASSWORD"}


def test_the_stores_file_names_the_buckets_of_the_manifests() -> None:
    settings = k8s.named(k8s.overlay("local"), "ConfigMap", "settings")["data"]
    defaults = ObjectStoreSettings.model_construct()
    assert settings["READMIT_S3_MLFLOW_BUCKET"] == defaults.s3_mlflow_bucket
    assert settings["READMIT_S3_PIPELINE_BUCKET"] == defaults.s3_pipeline_bucket
