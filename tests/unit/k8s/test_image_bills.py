"""Bills of the images from their Dockerfiles, and what waits in those that are built."""

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s import audit, image_bills
from readmit.settings import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SIMULATED = """Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])
Inst nginx (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [amd64])
Conf nginx (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [amd64])
"""
POLICY = """nginx:
  Installed: (none)
  Candidate: 1.22.1-9+deb12u11
libc6:
  Installed: 2.36
  Candidate: 2.36-9+deb12u14
"""
Fake = Callable[[str, str], None]


def on_release(monkeypatch: pytest.MonkeyPatch, codename: str) -> None:
    release = {"VERSION_CODENAME": codename}
    monkeypatch.setattr(image_bills.platform, "freedesktop_os_release", lambda: release)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put programs of our own before those of the machine."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(image_bills, "ENGINES", ("an-engine",))
    on_release(monkeypatch, image_bills.RELEASE)

    def write(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def test_every_image_says_what_it_is_made_of() -> None:
    images = {image.name: image for image in image_bills.images()}
    dockerfiles = [*ROOT.glob("*/Dockerfile"), *(ROOT / "k8s/images").glob("*/Dockerfile")]
    assert len(images) == len(dockerfiles)
    for image in images.values():
        assert image.base == "docker.io/library/python:3.11-slim-bookworm"
        assert image.extras or image.debian
        assert set(image.extras) <= EXTRAS.keys()
    assert images["docs-site"].extras == ("docs-site",)  # the guide is built elsewhere
    assert images["notebook"].debian == ("libgomp1",)
    assert images["login-proxy"].debian == ("nginx",)
    assert "prometheus-blackbox-exporter" in images["prometheus"].debian


def test_a_bill_has_the_packages_that_apt_brings_along(program: Fake, tmp_path: Path) -> None:
    program("apt-get", f"cat <<'END'\n{SIMULATED}END")
    [image] = [image for image in image_bills.images() if image.name == "login-proxy"]
    document = image_bills.bill(image, tmp_path)
    versions = {component["name"]: component["version"] for component in document["components"]}
    assert versions == {"libc6": "2.36-9+deb12u14", "nginx": "1.22.1-9+deb12u11"}
    purls = {component["purl"] for component in document["components"]}
    assert "pkg:deb/debian/nginx@1.22.1-9%2Bdeb12u11?distro=bookworm" in purls


def test_an_update_that_waits_in_a_built_image_makes_the_audit_fail(
    program: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = "printf 'nginx 1.22.1-9+deb12u1\\nlibc6 2.36-9+deb12u14\\n'"
    program("an-engine", f'case "$*" in info) ;; *login-proxy*) {listed} ;; *) exit 125 ;; esac')
    program("apt-cache", f"cat <<'END'\n{POLICY}END")
    weak, notes = image_bills.check_built()
    [line] = weak
    assert "login-proxy:" in line
    assert "nginx 1.22.1-9+deb12u1: Debian has 1.22.1-9+deb12u11" in line
    assert len(notes) == len(image_bills.images()) - 1  # those that are not built
    monkeypatch.setattr(audit, "audit", lambda: (audit.CLEAN, ["1 packages, none"]))
    monkeypatch.setattr(audit.advisories, "waiting_updates", list)
    assert audit.main() == audit.WEAK
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("script", [None, "exit 1"])
def test_without_an_engine_the_audit_says_what_it_has_not_seen(
    program: Fake, script: str | None
) -> None:
    if script:
        program("an-engine", script)
    weak, [note] = image_bills.check_built()
    assert weak == []
    assert "not checked" in note


def test_versions_of_another_release_are_not_taken_for_those_of_the_images(
    program: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program("apt-get", f"cat <<'END'\n{SIMULATED}END")
    program("an-engine", "exit 0")
    on_release(monkeypatch, "noble")
    [image] = [image for image in image_bills.images() if image.name == "login-proxy"]
    assert image_bills.bill(image, tmp_path)["components"] == []
    weak, [note] = image_bills.check_built()
    assert weak == []
    assert "no apt of Debian bookworm" in note


def test_the_command_stops_when_a_part_cannot_be_resolved(program: Fake, tmp_path: Path) -> None:
    program("apt-get", "exit 100")
    [image] = [image for image in image_bills.images() if image.name == "pgbouncer"]
    with pytest.raises(subprocess.CalledProcessError):
        image_bills.bill(image, tmp_path)
