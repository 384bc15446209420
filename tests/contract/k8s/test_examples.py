"""The examples for Argo CD, Flux and a Gateway, against closed schemas of the fields that they use.

The schemas are ours, written from the public references of these APIs; no controller was run.
"""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support import k8s

EXAMPLES = k8s.K8S / "examples"
TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
# The Gateway API: lower-case names of DNS, a wildcard in front at most.
HOST = {"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9-]+)*$"}


def fields(required: str = "", **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these fields and no other."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def listed(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


TARGET = fields(group=TEXT, version=TEXT, kind=TEXT, name=TEXT, namespace=TEXT)
PATCHES = listed(fields("patch", target=TARGET, patch=TEXT))
SECRET = fields("name", kind={"enum": ["Secret"]}, name=TEXT)
SPECS: dict[str, dict[str, Any]] = {
    "argoproj.io/v1alpha1 Application": fields(
        "project source destination",
        project=TEXT,
        source=fields(
            "repoURL",
            repoURL=TEXT,
            targetRevision=TEXT,
            path=TEXT,
            kustomize=fields(patches=PATCHES),
        ),
        destination=fields(server=TEXT, name=TEXT, namespace=TEXT),
        syncPolicy=fields(
            automated=fields(prune=FLAG, selfHeal=FLAG, allowEmpty=FLAG),
            syncOptions=listed({"type": "string", "pattern": r"^[A-Za-z]+=(true|false)$"}),
        ),
        ignoreDifferences=listed(
            fields("kind", group=TEXT, kind=TEXT, name=TEXT, jsonPointers=listed(TEXT))
        ),
    ),
    "source.toolkit.fluxcd.io/v1 GitRepository": fields(
        "interval url", interval=DURATION, url=TEXT, ref=fields(branch=TEXT, tag=TEXT, commit=TEXT)
    ),
    "kustomize.toolkit.fluxcd.io/v1 Kustomization": fields(
        "interval prune sourceRef",
        interval=DURATION,
        path=TEXT,
        prune=FLAG,
        wait=FLAG,
        timeout=DURATION,
        force=FLAG,
        sourceRef=fields("kind name", kind={"enum": ["GitRepository"]}, name=TEXT, namespace=TEXT),
        patches=PATCHES,
    ),
    "gateway.networking.k8s.io/v1 Gateway": fields(
        "gatewayClassName listeners",
        gatewayClassName=TEXT,
        listeners=listed(
            fields(
                "name port protocol",
                name=TEXT,
                hostname=HOST,
                port={"type": "integer", "minimum": 1, "maximum": 65535},
                protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP", "UDP"]},
                tls=fields(
                    mode={"enum": ["Terminate", "Passthrough"]}, certificateRefs=listed(SECRET)
                ),
                allowedRoutes=fields(
                    namespaces=fields(**{"from": {"enum": ["All", "Same", "Selector"]}})
                ),
            )
        ),
    ),
    "gateway.networking.k8s.io/v1 HTTPRoute": fields(
        parentRefs=listed(fields("name", name=TEXT, sectionName=TEXT)),
        hostnames=listed(HOST),
        rules=listed(
            fields(
                matches=listed(
                    fields(path=fields(type={"enum": ["Exact", "PathPrefix"]}, value=TEXT))
                ),
                backendRefs=listed(
                    fields("name", name=TEXT, port={"type": "integer", "minimum": 1})
                ),
            )
        ),
    ),
}
FILES = ("argocd-application.yaml", "flux-kustomization.yaml", "gateway.yaml")


def documents(name: str) -> list[dict[str, Any]]:
    return k8s.load((EXAMPLES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_an_example_has_known_fields_only(name: str) -> None:
    for document in documents(name):
        schema = SPECS[f"{document['apiVersion']} {document['kind']}"]
        jsonschema.validate(document["spec"], schema)
        assert document["metadata"]["name"]
        broken = document["spec"] | {"unknwon": 1}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def delivered() -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the folder that each of the two applies, and its patches."""
    [application] = documents(FILES[0])
    _, kustomization = documents(FILES[1])
    source = application["spec"]["source"]
    return [
        (source["path"], source["kustomize"]["patches"]),
        (kustomization["spec"]["path"], kustomization["spec"]["patches"]),
    ]


def test_a_delivered_folder_is_an_overlay_whose_job_stays() -> None:
    for folder, patches in delivered():
        overlay = Path(folder).name
        job = k8s.named(k8s.overlay(overlay), "Job", "set-up")
        for patch in patches:
            assert patch["target"] == {"kind": "Job", "name": "set-up"}
            [operation] = yaml.safe_load(patch["patch"])
            assert operation == {"op": "remove", "path": "/spec/ttlSecondsAfterFinished"}
            assert job["spec"]["ttlSecondsAfterFinished"]


def test_choices_of_a_person_are_not_delivered() -> None:
    for folder, _ in delivered():
        resources = k8s.overlay(Path(folder).name)
        config_maps = map(k8s.name_of, k8s.of_kind(resources, "ConfigMap"))
        assert "installation" not in config_maps
        assert not k8s.of_kind(resources, "Secret")
        assert "DATASET" not in k8s.named(resources, "ConfigMap", "settings")["data"]


def test_the_gateway_routes_what_the_ingress_routes() -> None:
    gateway, *routes = documents(FILES[2])
    names = [listener["hostname"] for listener in gateway["spec"]["listeners"]]
    by_route = {}
    for route in routes:
        [host] = route["spec"]["hostnames"]
        [backend] = route["spec"]["rules"][0]["backendRefs"]
        by_route[host] = (backend["name"], backend["port"])
        assert host in names or f"*.{host.partition('.')[2]}" in names
    by_ingress = {}
    ingress = k8s.named(k8s.overlay("production"), "Ingress", "readmit")
    for rule in ingress["spec"]["rules"]:
        service = rule["http"]["paths"][0]["backend"]["service"]
        by_ingress[rule["host"]] = (service["name"], service["port"]["number"])
    assert by_route == by_ingress
