"""dbt as Cosmos runs it: in this process, so that neither its import nor its start is paid for by every build."""

import os
from pathlib import Path
from unittest import mock

from readmit.contract.definition import PROJECT
from readmit.settings import StackSettings
from tests.support.services import environment


def build(settings: StackSettings, target: Path, *, project: Path = PROJECT) -> None:
    """Build and test the models of the batch that is set, as a run does."""
    run(
        target,
        "build",
        "--exclude-resource-type",
        "unit_test",
        project=project,
        told=environment(settings),
    )


def parse(target: Path, *, project: Path = PROJECT) -> None:
    """Write the manifest into `target`, read anew from the project."""
    run(
        target,
        "parse",
        "--no-partial-parse",
        project=project,
        told={"TRANSFORMER_PASSWORD": "unused"},
    )


def run(target: Path, *arguments: str, told: dict[str, str], project: Path = PROJECT) -> None:
    """Run a command of dbt to its end; what it says is in pytest's captured output."""
    from dbt.cli.main import dbtRunner  # takes seconds, and most test runs need no dbt

    general = ["--warn-error", "--log-level-file", "none"]  # dbt leaves its log open
    places = [
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
        "--target-path",
        str(target),
    ]
    with mock.patch.dict(os.environ, told):
        done = dbtRunner().invoke([*general, *arguments, *places])
    assert done.success, done.exception or f"dbt {arguments[0]}: see its output"
