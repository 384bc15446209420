"""dbt in this process, as Cosmos runs it: its import and start are not paid for by every build."""

import json
import os
from pathlib import Path
from unittest import mock

from readmit.contract.definition import PROJECT
from readmit.settings import StackSettings
from tests.support.services import environment


def build(
    settings: StackSettings, target: Path, *, project: Path = PROJECT, suffix: str = ""
) -> None:
    """Build and test the models of the batch that is set, as a run does."""
    command = ["build", "--exclude-resource-type", "unit_test"]
    if suffix:
        command += ["--vars", json.dumps({"schema_suffix": suffix})]
    run(target, *command, project=project, env=environment(settings))


def parse(target: Path, *, project: Path = PROJECT) -> None:
    """Write the manifest into `target`, read anew from the project."""
    variables = {"READMIT_TRANSFORMER_PASSWORD": "unused"}
    run(target, "parse", "--no-partial-parse", project=project, env=variables)


def run(target: Path, *arguments: str, env: dict[str, str], project: Path = PROJECT) -> None:
    """Run a command of dbt to its end; its output is in pytest's captured output."""
    from dbt.cli.main import dbtRunner  # takes seconds, and most test runs need no dbt

    general = ["--warn-error", "--log-level-file", "none"]  # dbt leaves its log open
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    folders += ["--target-path", str(target)]
    with mock.patch.dict(os.environ, env):
        result = dbtRunner().invoke([*general, *arguments, *folders])
    assert result.success, result.exception or f"dbt {arguments[0]}: see its output"
