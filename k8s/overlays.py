"""The kustomization that `make k8s-up` applies: an overlay, further components, a registry."""

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


def write_overlay(overlay: str, components: list[str], registry: str = "") -> Path:
    """Write an overlay with further components; returns its folder.

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
    if registry:
        images = []
        for name in image_names():
            images.append({"name": f"{LOCAL_REGISTRY}/{name}", "newName": f"{registry}/{name}"})
        document["images"] = images
        worker = f"{WORKER_IMAGE}={registry}/pipeline"
        document["configMapGenerator"] = [
            {"name": "airflow-settings", "behavior": "merge", "literals": [worker]}
        ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return FOLDER
