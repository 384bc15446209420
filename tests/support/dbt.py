"""dbt in this process, as Cosmos runs it: its import and start are not paid for by every build.

Nor does every build parse the project: dbt would do so for each database and schema anew.
"""

import json
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest import mock

from readmit.contract.definition import PROJECT
from readmit.settings import StackSettings
from tests.support.services import environment

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest


def build(
    settings: StackSettings, target: Path, *, project: Path = PROJECT, suffix: str = ""
) -> None:
    """Build and test the models of the batch that is set, as a run does."""
    command = ["build", "--exclude-resource-type", "unit_test", *_variables(suffix)]
    env = environment(settings)
    manifest = _manifest_of(project, suffix, _fingerprint(project)).deepcopy()
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        if node.relation_name is not None:
            database = f'"{settings.clean_database}"'
            node.relation_name = node.relation_name.replace(f'"{node.database}"', database)
        node.database = settings.clean_database
    if not (target / "manifest.json").exists():
        manifest.write(str(target / "manifest.json"))
    _check(_invoke(target, *command, project=project, env=env, manifest=manifest))


def _variables(suffix: str) -> list[str]:
    if not suffix:
        return []
    return ["--vars", json.dumps({"schema_suffix": suffix})]


def _fingerprint(project: Path) -> int:
    """Return a number that another one replaces when a file of the project changes."""
    files = []
    for path in sorted(project.rglob("*")):
        if not {"target", "logs"} & set(path.relative_to(project).parts):
            files.append((path, path.stat().st_mtime_ns))
    return hash(tuple(files))


@cache
def _manifest_of(project: Path, suffix: str, fingerprint: int) -> "Manifest":
    """Return what dbt reads out of a project of this fingerprint."""
    variables = {"READMIT_TRANSFORMER_PASSWORD": "unused"}
    with TemporaryDirectory() as folder:
        command = ["parse", "--no-partial-parse", *_variables(suffix)]
        result = _invoke(Path(folder), *command, project=project, env=variables)
    _check(result)
    manifest: Manifest = result.result
    return manifest


def parse(target: Path, *, project: Path = PROJECT) -> None:
    """Write the manifest of the project into `target`."""
    _manifest_of(project, "", _fingerprint(project)).write(str(target / "manifest.json"))


def run(target: Path, *arguments: str, env: dict[str, str], project: Path = PROJECT) -> None:
    """Run a command of dbt to its end; its output is in pytest's captured output."""
    _check(_invoke(target, *arguments, project=project, env=env))


def _check(result: "dbtRunnerResult") -> None:
    assert result.success, result.exception or "dbt failed: see its output"


def _invoke(
    target: Path,
    *arguments: str,
    env: dict[str, str],
    project: Path,
    manifest: "Manifest | None" = None,
) -> "dbtRunnerResult":
    from dbt.cli.main import dbtRunner  # takes seconds, and most test runs need no dbt

    general = ["--warn-error", "--log-level-file", "none"]  # dbt leaves its log open
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    folders += ["--target-path", str(target)]
    with mock.patch.dict(os.environ, env):
        return dbtRunner(manifest=manifest).invoke([*general, *arguments, *folders])
