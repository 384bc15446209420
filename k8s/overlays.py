"""The kustomization that `make k8s-up` applies: an overlay with what this installation adds."""

import re
from pathlib import Path

import yaml

from k8s.cluster import NAMESPACE, run
from readmit.settings import ROOT

# Where images stand that were built on this machine.
LOCAL_REGISTRY = "localhost/readmit"
WORKER_IMAGE = "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY"
FOLDER = ROOT / "build" / "k8s"


def kustomize(folder: Path) -> str:
    """Return the rendered manifests of a folder."""
    return run("kubectl", "kustomize", str(folder))


def image_names() -> list[str]:
    """Return the names of our images, as the script that builds them lists them."""
    script = (ROOT / "k8s" / "build-images.sh").read_text(encoding="utf-8")
    return re.findall(r"\[([a-z0-9-]+)\]=\S*Dockerfile", script)


def write_overlay(
    overlay: str, components: list[str], settings: dict[str, str], registry: str = ""
) -> Path:
    """Write an overlay with further components and settings; returns its folder.

    With a registry our images come from there, and so do those of task pods.
    """
    document: dict[str, object] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [f"../../k8s/overlays/{overlay}"],
        "components": [f"../../k8s/components/{name}" for name in components],
        "generatorOptions": {"disableNameSuffixHash": True},
    }
    config_maps = []
    if settings:
        config_maps.append(_merged("settings", settings))
    if registry:
        images = []
        for name in image_names():
            images.append({"name": f"{LOCAL_REGISTRY}/{name}", "newName": f"{registry}/{name}"})
        document["images"] = images
        config_maps.append(_merged("airflow-settings", {WORKER_IMAGE: f"{registry}/pipeline"}))
    document["configMapGenerator"] = config_maps
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return FOLDER


def _merged(name: str, values: dict[str, str]) -> dict[str, object]:
    """Return the entry of a ConfigMap whose values are added to those of the overlay."""
    literals = [f"{key}={value}" for key, value in values.items()]
    return {"name": name, "behavior": "merge", "literals": literals}
