"""The check for known weaknesses: a pass means that every package was looked up."""

from pathlib import Path
from typing import Any

import pytest

from k8s import audit

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
