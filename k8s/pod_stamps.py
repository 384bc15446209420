"""Digests of ConfigMaps and images in pod templates: pods are replaced when these change."""

import hashlib
import json

from k8s.cluster import Resource

KINDS = ("StatefulSet", "DaemonSet", "Deployment")
CONFIGURATION = "readmit/configuration"
IMAGES = "readmit/images"


def stamp(manifests: list[Resource], built: dict[str, str], running: list[Resource]) -> None:
    """Write into each pod template digests of the ConfigMaps and images that it uses.

    Args:
        manifests: what will be applied; changed in place.
        built: the layers of each image that was built now, by name.
        running: the workloads on the cluster. The digest of an image that was not built now is
            taken from them.
    """
    config_maps = {}
    for resource in manifests:
        if resource["kind"] == "ConfigMap":
            config_maps[resource["metadata"]["name"]] = resource["data"]
    earlier = {}
    for workload in running:
        earlier[_key(workload)] = _annotations(workload)
    for workload in manifests:
        if workload["kind"] in KINDS:
            template = workload["spec"]["template"]
            annotations = _annotations(workload)
            read = {name: config_maps.get(name) for name in config_map_names(workload)}
            annotations[CONFIGURATION] = _digest(read)
            spec = template["spec"]
            image_layers = []
            for container in [*spec.get("initContainers", []), *spec["containers"]]:
                if container["image"] in built:
                    image_layers.append(built[container["image"]])
            if image_layers:
                annotations[IMAGES] = _digest(sorted(image_layers))
            elif IMAGES in earlier.get(_key(workload), {}):
                annotations[IMAGES] = earlier[_key(workload)][IMAGES]
            template["metadata"]["annotations"] = annotations


def _key(workload: Resource) -> tuple[str, str]:
    return workload["kind"], workload["metadata"]["name"]


def _annotations(workload: Resource) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"].get("annotations", {}))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def config_map_names(node: object) -> set[str]:
    """Return the names of the ConfigMaps that are referred to anywhere below a node."""
    names: set[str] = set()
    if isinstance(node, list):
        for value in node:
            names |= config_map_names(value)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef"):
                names.add(str(value["name"]))
            names |= config_map_names(value)
    return names
