"""Applying again changes nothing: the manifests through a real kubectl, on an API server in memory.

kubectl's three-way merge is the real one; defaults, admission and controllers are not there.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from k8s import install, installation
from k8s.cluster import Cluster, run
from k8s.installation import Choices
from k8s.reach import variables_of
from tests.support import k8s, kube_api

LOCAL = str(k8s.K8S / "overlays" / "local")
OWN_FILE = Choices(dataset="upload://mine.zip")
NO_SCHEMA = "--validate=false"  # the server in memory has none


@contextmanager
def served(folder: Path) -> Iterator[kube_api.KubeApi]:
    with (
        kube_api.served(k8s.overlay("local"), folder) as (server, kubeconfig),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("KUBECONFIG", kubeconfig)
        plain = Cluster.command

        def command_without_schema(self: Cluster, *words: str) -> list[str]:
            command = plain(self, *words)
            if {"apply", "create"} & {*command} and "set-last-applied" not in command:
                command = [*command, NO_SCHEMA]
            return command

        patch.setattr(Cluster, "command", command_without_schema)
        yield server


@pytest.fixture
def api(tmp_path: Path) -> Iterator[kube_api.KubeApi]:
    """A cluster with nothing in it."""
    with served(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def objects_of_an_installation(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, kube_api.Resource]:
    with served(tmp_path_factory.mktemp("installed")) as server:
        install_with(OWN_FILE, {})
        return server.objects


@pytest.fixture
def installed(
    api: kube_api.KubeApi, objects_of_an_installation: dict[str, kube_api.Resource]
) -> kube_api.KubeApi:
    """A cluster after `make k8s-up` with a file of one's own."""
    api.objects = copy.deepcopy(objects_of_an_installation)
    return api


def templates(api: kube_api.KubeApi) -> dict[str, Any]:
    """Return the pod template of each workload: a controller makes new pods when it changes."""
    by_path = {}
    for path, resource in api.objects.items():
        if resource["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            by_path[path] = json.dumps(resource["spec"]["template"], sort_keys=True)
    return by_path


def secrets(api: kube_api.KubeApi) -> dict[str, Any]:
    return {path: value for path, value in api.objects.items() if "/secrets/" in path}


def install_with(choices: Choices, built: dict[str, str]) -> None:
    install.apply(Cluster("c"), k8s.overlay("local"), built, choices)


def test_kubectl_apply_after_k8s_up_changes_nothing(api: kube_api.KubeApi) -> None:
    images = {image: f"layers of {image}" for image in k8s.images(k8s.overlay("local"))}
    install_with(OWN_FILE, images)
    installed = templates(api)
    for template in installed.values():
        assert "readmit/images" in template or "localhost/" not in template
    for _ in range(2):
        api.changes.clear()
        run("kubectl", "apply", "-k", LOCAL, NO_SCHEMA)
        assert api.changes == []
    assert templates(api) == installed
    assert variables_of(Cluster("c"))["READMIT_DATASET"] == "upload://mine.zip"


def test_a_changed_overlay_is_applied_and_keeps_the_choices_of_k8s_up(
    installed: kube_api.KubeApi, tmp_path: Path
) -> None:
    changed = k8s.overlay("local")
    k8s.named(changed, "ConfigMap", "settings")["data"]["READMIT_BATCH_SIZE"] = "20000"
    manifests = tmp_path / "manifests.json"
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": changed}))
    before = templates(installed)
    installed.changes.clear()
    run("kubectl", "apply", "-f", str(manifests), NO_SCHEMA)
    assert [path.rpartition("/")[2] for _, path, _ in installed.changes] == ["settings"]
    assert templates(installed) == before
    assert variables_of(Cluster("c"))["READMIT_DATASET"] == "upload://mine.zip"


def test_k8s_up_again_rolls_nothing_and_keeps_source_and_passwords(
    installed: kube_api.KubeApi,
) -> None:
    by_name = {path.rpartition("/")[2]: secret for path, secret in secrets(installed).items()}
    by_name["grafana-admin"]["data"]["GRAFANA_ADMIN_PASSWORD"] = "Y2hhbmdlZA=="  # by a person
    templates_before = templates(installed)
    secrets_before = copy.deepcopy(secrets(installed))
    choices = installation.choose({}, installation.earlier_choices(Cluster("c")))
    install_with(choices, {})
    assert choices == OWN_FILE
    assert templates(installed) == templates_before
    assert secrets(installed) == secrets_before


def test_the_source_of_an_earlier_release_moves_out_of_the_rendered_settings(
    api: kube_api.KubeApi,
) -> None:
    earlier = k8s.overlay("local")
    k8s.named(earlier, "ConfigMap", "settings")["data"]["DATASET"] = "upload://old.zip"
    install.apply(Cluster("c"), earlier, {}, Choices())
    choices = installation.choose({}, installation.earlier_choices(Cluster("c")))
    install_with(choices, {})
    run("kubectl", "apply", "-k", LOCAL, NO_SCHEMA)
    assert Cluster("c").config_map("installation")["DATASET"] == "upload://old.zip"
    assert "DATASET" not in Cluster("c").settings()


def test_a_changed_setting_replaces_the_pods_that_read_it(installed: kube_api.KubeApi) -> None:
    before = templates(installed)
    changed = k8s.overlay("local")
    k8s.named(changed, "ConfigMap", "mlflow-auth")["data"]["auth.ini"] += "# more\n"
    install.apply(Cluster("c"), changed, {}, OWN_FILE)
    rolled = []
    for path, template in templates(installed).items():
        if template != before[path]:
            rolled.append(path.rpartition("/")[2])
    assert rolled == ["mlflow"]
