"""An image installs its part of the lock, by hash, and nothing of other parts."""

import hashlib
import re
import shutil
import subprocess
import tomllib
from operator import attrgetter
from pathlib import Path

import pytest

from tests.support.k8s import K8S, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILES = [
    *sorted(ROOT.glob("*/Dockerfile")),
    *sorted((K8S / "images").glob("*/Dockerfile")),
]


@pytest.mark.parametrize("path", DOCKERFILES, ids=attrgetter("parent.name"))
def test_an_image_installs_extras_of_the_project(path: Path) -> None:
    command = re.search(r"(?m)^RUN sh install\.sh(.*)$", path.read_text())
    if command is None:
        assert path.parent.name in (
            "prometheus",
            "login-proxy",
            "pgbouncer",
        )  # from Debian's packages
        return
    assert set(command[1].split()) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("script", [K8S / "images" / "install.sh", ROOT / "stack" / "install.sh"])
def test_uv_is_installed_from_its_lines_of_the_lock(script: Path) -> None:
    (expression,) = re.findall(
        r"sed -n [\"'](\S+ via/p)[\"'] requirements\.lock", script.read_text()
    )
    lines = subprocess.run(
        ["sed", "-n", expression, str(ROOT / "requirements.lock")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.findall(r"(?m)^(\S+)==[\d.]+ \\$", lines) == ["uv"]
    assert lines.count("--hash=sha256:") > 1


def test_an_image_takes_nothing_that_is_not_locked() -> None:
    script = (K8S / "images" / "install.sh").read_text()
    assert "--require-hashes" in script
    assert "--constraints requirements.lock" in script


@pytest.mark.parametrize("path", DOCKERFILES, ids=attrgetter("parent.name"))
def test_dockerfile(path: Path) -> None:
    text = path.read_text()
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
    built = re.findall(r"=(\S+Dockerfile)", script)
    assert {ROOT / path for path in built} == set(DOCKERFILES)


def test_pinning_gives_every_image_its_digest(tmp_path: Path) -> None:
    from k8s import overlays, pin_images

    for part in ("base", "components", "overlays"):
        shutil.copytree(K8S / part, tmp_path / part)
    path = tmp_path / "overlays" / "production" / "kustomization.yaml"
    used = pin_images.tagged(pin_images.rendered_images(path.parent))
    digests = {}
    for image in used:
        digests[image] = f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
    folder = tmp_path / "overlays" / "pinned"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(pin_images.pinned(path.read_text(), digests))
    for name in ("upstream-monitoring.yaml", "budgets.yaml"):
        manifest = (path.parent / name).read_text()
        (folder / name).write_text(pin_images.with_digests(manifest, digests))
    pinned_images = pin_images.rendered_images(folder)
    text = overlays.kustomize(folder)
    n_upstream = 0
    for image, digest in digests.items():
        if "/readmit/" in image:
            assert f"{image.rpartition(':')[0]}@{digest}" in pinned_images
        elif "grafana" not in image:
            n_upstream += 1
            assert f"{image}@{digest}" in pinned_images
    assert n_upstream == 6
    pipeline = digests["registry.example.org/readmit/pipeline:0.1.0"].removeprefix("sha256:")
    assert f"WORKER_CONTAINER_TAG: {pipeline}" in text  # Airflow joins both parts with a colon
    assert "WORKER_CONTAINER_REPOSITORY: registry.example.org/readmit/pipeline@sha256" in text


def test_production_runs_upstream_images_by_digest() -> None:
    from k8s import pin_images

    used = pin_images.rendered_images(K8S / "overlays" / "production")
    upstream = {image for image in used if "/readmit/" not in image}
    assert len(upstream) == 7
    for image in upstream:
        assert re.search(r":v?[\d.]+@sha256:[0-9a-f]{64}$", image)


# `build` prints which files of the context others may not read.
ENGINE = """#!/bin/sh
case "$1" in
build) for context in "$@"; do :; done; find "$context" -mindepth 1 ! -perm -o=r; find "$context" -mindepth 1 -type d ! -perm -o=x; find "$context" -maxdepth 1 -name serving ;;
image) echo 1000000 ;;
esac
"""


def test_a_checkout_under_a_strict_umask_makes_images_that_others_can_read(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    parts = re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text())
    for part in [*parts, ".dockerignore", "k8s/build-images.sh"]:
        target = checkout / part
        target.parent.mkdir(exist_ok=True)
        ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=ignored)
        else:
            shutil.copy(ROOT / part, target)
    subprocess.run(["chmod", "-R", "go-rwx", str(checkout)], check=True)
    process = subprocess.run(
        ["bash", "-c", "umask 077 && bash k8s/build-images.sh serving"],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin", "ENGINE": str(engine)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    heading, serving, _ = process.stdout.splitlines()
    assert heading.startswith("== ")
    assert serving.endswith("/serving")
