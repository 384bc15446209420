"""What each image installs, resolved by the real uv from the lock, as the bill of materials lists
it.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from readmit.settings import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
# Images run Linux and Python 3.11.
IMAGE = {"sys_platform": "linux", "python_version": "3.11", "python_full_version": "3.11.2"}
Bill = Callable[..., dict[str, Any]]
Packages = Callable[[str], set[str]]
NO_REGISTRY = ("Failed to fetch", "error sending request")


def locked() -> dict[str, str]:
    """Return the version of each package of the lock that an image may install."""
    versions = {}
    for line in re.findall(r"(?m)^[a-z0-9][^\\]*==[^\\]*", LOCK):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(IMAGE):
            versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    return versions


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Bill:
    """Return the bill of materials of the lock, or of some extras; uv makes its lock once."""
    project = tmp_path_factory.mktemp("project")
    return cache(partial(bill_of, project))


def bill_of(project: Path, *extras: str) -> dict[str, Any]:
    script = subprocess.run(
        ["bash", str(ROOT / "k8s" / "sbom.sh"), "--project", str(project), *extras],
        capture_output=True,
        text=True,
        check=False,
    )
    if any(message in script.stderr for message in NO_REGISTRY):
        pytest.skip("uv needs the package registry to resolve a part of the lock")
    assert script.returncode == 0, script.stderr
    return dict(json.loads(script.stdout))


@pytest.fixture
def packages(bill: Bill) -> Packages:
    """Return the names of the packages of an extra."""

    def names(extra: str) -> set[str]:
        return {component["name"] for component in bill(extra)["components"]}

    return names


def test_the_bill_names_every_package_of_the_lock_with_its_version_and_hashes(bill: Bill) -> None:
    document = bill()
    versions = {component["name"]: component["version"] for component in document["components"]}
    assert versions == locked()
    for component in document["components"]:
        files = component["externalReferences"]
        assert files, component["name"]
        for file in files:
            (digest,) = file["hashes"]
            assert f"sha256:{digest['content']}" in LOCK


def test_the_bill_says_what_a_package_needs(bill: Bill) -> None:
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill("serving")["dependencies"]}
    (fastapi,) = [ref for ref in needs if re.match(r"fastapi-\d+@", ref)]
    assert any(ref.startswith("starlette-") for ref in needs[fastapi])


def test_the_parts_stay_apart(packages: Packages) -> None:
    serving = packages("serving")
    assert {"fastapi", "onnxruntime", "boto3"} <= serving
    assert not serving & {"pandas", "scikit-learn", "mlflow", "apache-airflow-core", "jinja2"}
    assert "mlflow" not in packages("ui")
    assert {"lightgbm", "dbt-core", "apache-airflow-core"} <= packages("pipeline")


@pytest.mark.parametrize("extra", ["pipeline", "mlflow", "serving", "ui", "locust", "training"])
def test_no_image_has_tools_of_development(packages: Packages, extra: str) -> None:
    assert not packages(extra) & {"mypy", "ruff", "schemathesis"}


def test_a_package_that_is_not_locked_ends_the_installation(tmp_path: Path) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(project.replace('"boto3",', '"boto3", "humanize",', 1))
    assert "humanize" not in locked()
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    install = subprocess.run(
        [
            *(str(ROOT / ".venv" / "bin" / "uv"), "pip", "install", "--dry-run"),
            *("--require-hashes", "--only-binary", ":all:", "--target", str(tmp_path / "venv")),
            *("--constraints", "requirements.lock", "--requirements", "pyproject.toml"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if any(message in install.stderr for message in NO_REGISTRY):
        pytest.skip("uv needs the package registry to resolve a part of the lock")
    assert install.returncode != 0
    assert "no trusted hash was provided for: `humanize`" in " ".join(install.stderr.split())
