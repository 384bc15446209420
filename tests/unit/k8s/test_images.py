"""What an image installs: its part of the lock, by hash, and nothing of other parts."""

import hashlib
import importlib.util
import re
import shutil
import tomllib
from types import ModuleType

import pytest

from tests.support.k8s import K8S, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILES = sorted(path for path in ROOT.glob("*/Dockerfile")) + sorted(
    (K8S / "images").glob("*/Dockerfile")
)


@pytest.fixture(scope="module")
def requirements() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "requirements", K8S / "images" / "requirements.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lock(requirements: ModuleType) -> dict[str, str]:
    return dict(requirements.blocks((ROOT / "requirements.lock").read_text()))


def part(requirements: ModuleType, lock: dict[str, str], extra: str) -> set[str]:
    core = {requirements.canonical(line) for line in PROJECT["dependencies"]}
    return set(requirements.closure(core | requirements.declared(PROJECT, extra), lock))


def test_every_package_of_the_lock_is_read(lock: dict[str, str]) -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert len(lock) == len(re.findall(r"(?m)^[a-z0-9].*==", text))
    assert all("--hash=sha256:" in block for block in lock.values())


@pytest.mark.parametrize("extra", ["pipeline", "mlflow", "serving", "ui", "locust", "training"])
def test_what_an_extra_asks_for_is_in_its_part(
    requirements: ModuleType, lock: dict[str, str], extra: str
) -> None:
    found = part(requirements, lock, extra)
    assert requirements.declared(PROJECT, extra) <= found
    assert not found & {"mypy", "ruff", "schemathesis"}


def test_the_parts_stay_apart(requirements: ModuleType, lock: dict[str, str]) -> None:
    assert not part(requirements, lock, "serving") & {
        "pandas",
        "scikit-learn",
        "mlflow",
        "apache-airflow-core",
    }
    assert "mlflow" not in part(requirements, lock, "ui")
    assert {"lightgbm", "dbt-core", "apache-airflow-core"} <= part(requirements, lock, "pipeline")


def test_a_package_that_is_not_locked_is_refused(
    requirements: ModuleType, lock: dict[str, str]
) -> None:
    with pytest.raises(KeyError):
        requirements.closure({"left-pad"}, lock)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfile(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    final = text.rpartition("\nFROM ")[2]
    assert text.count("ARG BASE=docker.io/library/python:3.11-slim-bookworm") == 1
    assert re.search(r"(?m)^USER 10001:10001$", final)
    assert re.search(r"(?m)^HEALTHCHECK ", final)
    assert {"org.opencontainers.image.title", "org.opencontainers.image.description"} <= set(
        re.findall(r"org[\w.]+", final)
    )
    assert ":latest" not in text
    assert "pip install" not in final


def test_the_build_adds_what_a_dockerfile_cannot_know() -> None:
    script = (K8S / "build-images.sh").read_text()
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)", script))
    assert labels == {"version", "revision", "licenses"}


def test_every_dockerfile_is_built() -> None:
    script = (K8S / "build-images.sh").read_text()
    assert {str(path.relative_to(ROOT)) for path in DOCKERFILES} == set(
        re.findall(r"=(\S+Dockerfile)", script)
    )


def test_pinning_gives_every_image_its_digest() -> None:
    from k8s import pin_images

    path = K8S / "overlays" / "production" / "kustomization.yaml"
    used = pin_images.tagged(pin_images.rendered_images(path.parent))
    digests = {image: f"sha256:{hashlib.sha256(image.encode()).hexdigest()}" for image in used}
    folder = K8S / "overlays" / "pinned-for-a-test"
    folder.mkdir()
    try:
        (folder / "kustomization.yaml").write_text(pin_images.pinned(path.read_text(), digests))
        for beside in ("upstream-monitoring.yaml", "budgets.yaml"):
            (folder / beside).write_text(
                pin_images.with_digests((path.parent / beside).read_text(), digests)
            )
        found = pin_images.rendered_images(folder)
        text = pin_images.kustomize(folder)
    finally:
        shutil.rmtree(folder)
    own = {image for image in used if "/readmit/" in image}
    upstream = {image for image in used - own if "grafana" not in image}
    assert len(upstream) == 5
    assert {f"{image.rpartition(':')[0]}@{digests[image]}" for image in own} <= found
    assert {f"{image}@{digests[image]}" for image in upstream} <= found
    pipeline = digests["registry.example.org/readmit/pipeline:0.1.0"].removeprefix("sha256:")
    assert f"WORKER_CONTAINER_TAG: {pipeline}" in text  # Airflow joins both parts with a colon
    assert "WORKER_CONTAINER_REPOSITORY: registry.example.org/readmit/pipeline@sha256" in text


def test_production_runs_upstream_images_by_digest() -> None:
    from k8s import pin_images

    used = pin_images.rendered_images(K8S / "overlays" / "production")
    upstream = {image for image in used if "/readmit/" not in image}
    assert len(upstream) == 6
    assert [
        image for image in upstream if not re.search(r":v?[\d.]+@sha256:[0-9a-f]{64}$", image)
    ] == []


def test_the_bill_of_materials_names_every_package_of_an_image(
    requirements: ModuleType, lock: dict[str, str]
) -> None:
    from k8s.sbom import bill

    found = bill("serving")
    assert {each["name"] for each in found["components"]} == part(requirements, lock, "serving")
    assert all(
        each["hashes"] and re.fullmatch(r"[\w.!+-]+", each["version"])
        for each in found["components"]
    )
    needs = {each["ref"].split("@")[0]: each["dependsOn"] for each in found["dependencies"]}
    assert any(ref.startswith("pkg:pypi/starlette@") for ref in needs["pkg:pypi/fastapi"])
    assert len(bill()["components"]) == len(lock)
