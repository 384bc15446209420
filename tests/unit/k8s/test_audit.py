"""The check for known weaknesses: a pass means that every package was looked up."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from k8s import advisories, audit

CHECKED = {"name": "jinja2", "version": "3.1.6", "vulns": []}
WEAK = CHECKED | {"vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["3.1.7"], "aliases": []}]}
SKIPPED = {"name": "mlflow", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "message"),
    [
        ([CHECKED], audit.CLEAN, "1 packages, none"),
        ([CHECKED, WEAK], audit.WEAK, "jinja2 3.1.6: PYSEC-2026-1, fixed in 3.1.7"),
        ([WEAK, SKIPPED], audit.WEAK, "PYSEC-2026-1"),
        ([CHECKED, SKIPPED], audit.UNKNOWN, "1 of 2 packages: Dependency not found on PyPI"),
        ([], audit.UNKNOWN, "no package"),
    ],
)
def test_verdict(packages: list[dict[str, Any]], code: int, message: str) -> None:
    exit_code, lines = audit.verdict({"dependencies": packages})
    assert exit_code == code
    assert message in lines[0]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'ERROR: cannot reach the index' >&2; exit 1", "cannot reach the index"),
        (
            'echo \'{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}\'',
            "1 packages, none",
        ),
    ],
)
def test_the_auditors_message_is_passed_on(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "uvx"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    code, lines = audit.audit()
    assert message in lines[0]
    assert (code == audit.CLEAN) == ("none" in message)


def test_without_uvx_nothing_is_called_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert audit.audit()[0] == audit.UNKNOWN


POLICY = """prometheus:
  Installed: 2.42.0+ds-5+deb12u1
  Candidate: 2.42.0+ds-5+deb12u2
  Version table:
nginx:
  Installed: (none)
  Candidate: 1.22.1-9
libpq5:
  Installed: 15.14
  Candidate: 15.14
"""


def test_programs_in_wheels_and_images_are_known_with_their_versions() -> None:
    versions = {program.component: program.version for program in advisories.programs()}
    assert {"postgres", "seaweedfs", "prometheus", "grafana"} <= versions.keys()
    for version in versions.values():
        assert version[0].isdigit()


def test_every_advisory_has_a_public_source_and_mends_what_it_affects() -> None:
    document = tomllib.loads(advisories.LIST.read_text())
    components = {program.component for program in advisories.programs()}
    for advisory in document["advisory"]:
        assert advisory["component"] in components
        assert advisory["source"].startswith("https://")
        assert Version(advisory["fixed"]) not in SpecifierSet(advisory["affected"])


def test_an_affected_version_is_named_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    old = advisories.Program("postgres", "18.3", "requirements.lock")
    monkeypatch.setattr(advisories, "programs", lambda: [old])
    [line] = advisories.weaknesses()
    assert "postgres 18.3" in line
    assert "fixed in 18.4" in line


def test_no_program_of_a_wheel_or_an_image_has_a_known_weakness() -> None:
    assert advisories.weaknesses() == []


def test_an_update_of_debian_that_waits_is_named() -> None:
    assert advisories.updates_in(POLICY) == [
        "prometheus 2.42.0+ds-5+deb12u1: Debian has 2.42.0+ds-5+deb12u2"
    ]


def test_a_weak_program_makes_the_audit_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "audit", lambda: (audit.CLEAN, ["1 packages, none"]))
    monkeypatch.setattr(advisories, "waiting_updates", list)
    monkeypatch.setattr(advisories, "weaknesses", lambda: ["grafana 12.2.0: CVE"])
    assert audit.main() == audit.WEAK
    assert "grafana 12.2.0: CVE" in capsys.readouterr().err
    monkeypatch.setattr(advisories, "weaknesses", list)
    assert audit.main() == audit.CLEAN
