"""A command that fails prints no secret: here the server and the store know none of its log-ins."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from readmit.settings import ROOT, StackSettings, variable
from tests.support.services import services

COMMANDS = (
    ("readmit.batches.corrections", "list"),
    ("readmit.batches.proposals", "list"),
    ("readmit.ops.backup", "save", "backups"),
    ("readmit.ops.bootstrap",),
    ("readmit.storage",),
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every secret has a value that can be found in a text; only addresses are right."""
    home = tmp_path_factory.mktemp("home")
    values = dict(os.environ)
    for name, field in StackSettings.model_fields.items():
        if "SecretStr" in str(field.annotation) or name.endswith("_access_key_id"):
            values[variable(name)] = f"value-of-{name}"
    for name in ("postgres_port", "s3_port", "s3_endpoint_url"):
        values[variable(name)] = str(services()[name])
    return values | {
        "PYTHONPATH": str(ROOT),
        "READMIT_ENV_FILE": os.devnull,
        "READMIT_HOME": str(home),
        "READMIT_INBOX": str(home),
    }


def test_no_command_prints_a_secret_when_it_fails(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def run(command: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
        module, *options = command
        return subprocess.run(
            [sys.executable, "-m", module, *options],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    with ThreadPoolExecutor(3) as pool:
        completed = [*pool.map(run, COMMANDS)]
    for command, process in zip(COMMANDS, completed, strict=True):
        text = process.stdout + process.stderr
        assert "value-of-" not in text, command
        assert process.returncode != 0, command
        assert text, command
