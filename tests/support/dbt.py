"""dbt in this process, as Cosmos runs it: its import and start are not paid for by every build.

Nor does every build parse the project: dbt would do so for each database and schema anew.
"""

import copy
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from readmit.contract.definition import PROJECT
from readmit.settings import StackSettings
from tests.support import shared
from tests.support.services import environment

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest


def build(
    settings: StackSettings,
    target: Path,
    *,
    project: Path = PROJECT,
    suffix: str = "",
    writes_results: bool = False,
) -> None:
    """Build and test the models of the batch that is set, as a run does.

    With `writes_results` dbt writes its documents, `run_results.json` among them.
    """
    command = ["build", "--exclude-resource-type", "unit_test", *_variables(suffix)]
    if not writes_results:
        command.append("--no-write-json")
    manifest = _manifest_for(settings, project, suffix)
    if not (target / "manifest.json").exists():
        _write(manifest, target)
    env = environment(settings)
    _check(_invoke(target, *command, project=project, env=env, manifest=manifest))


def _variables(suffix: str) -> list[str]:
    if not suffix:
        return []
    return ["--vars", json.dumps({"schema_suffix": suffix})]


def _manifest_for(settings: StackSettings, project: Path, suffix: str) -> "Manifest":
    """Return the manifest of a project for one build in the database of the settings.

    The build writes what it compiles into the nodes, so they are copies. Nothing writes into the
    rest.
    """
    parsed = _manifest_of(Project(project), suffix)
    database = settings.clean_database

    def copied(node: Any) -> Any:
        node = copy.copy(node)
        if node.relation_name is not None:
            node.relation_name = node.relation_name.replace(f'"{node.database}"', f'"{database}"')
        node.database = database
        if node.resource_type == "seed":
            node.root_path = str(project)
        elif hasattr(node, "extra_ctes"):
            node.extra_ctes = []
        return node

    return dataclasses.replace(
        parsed,
        nodes={name: copied(node) for name, node in parsed.nodes.items()},
        sources={name: copied(source) for name, source in parsed.sources.items()},
    )


class Project:
    """A dbt project; one with the same files, elsewhere, is equal to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not {"target", "logs"} & set(name.parts):
                digest.update(f"{name} {path.stat().st_size}\n".encode() + path.read_bytes())
        self.sha256 = digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Project) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


@cache
def _manifest_of(project: Project, suffix: str) -> "Manifest":
    """Return what dbt reads out of a project."""
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    content = (_parsed(project, suffix) / "partial_parse.msgpack").read_bytes()
    manifest = cast("Manifest", Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder))
    manifest.build_flat_graph()  # what Jinja calls `graph`; dbt stores it nowhere
    return manifest


@cache
def _parsed(project: Project, suffix: str) -> Path:
    """Return the folder of what dbt writes when it reads a project.

    The processes of a test run share it: the first that asks has dbt read the project.
    """
    folder = Path(os.environ[shared.FOLDER]) / f"dbt-{project.sha256}{suffix}"
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            variables = {"READMIT_TRANSFORMER_PASSWORD": "unused"}
            command = ["parse", "--no-partial-parse", *_variables(suffix)]
            _check(_invoke(folder, *command, project=project.folder, env=variables))
            (folder / "done").touch()
    return folder


def parse(target: Path, *, project: Path = PROJECT) -> None:
    """Write the manifest of the project into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(_parsed(Project(project), "") / "manifest.json", target)


def _write(manifest: "Manifest", target: Path) -> None:
    manifest.write(str(target / "manifest.json"))  # type: ignore[no-untyped-call]


def run(target: Path, *arguments: str, env: dict[str, str], project: Path = PROJECT) -> None:
    """Run a command of dbt to its end."""
    _check(_invoke(target, *arguments, project=project, env=env))


def _check(result: "dbtRunnerResult") -> None:
    if result.exception is not None:
        raise result.exception
    failed = []
    for node in getattr(result.result, "results", ()):
        if node.status in ("error", "fail", "warn", "runtime error"):
            failed.append(f"{node.node.unique_id}: {node.message}")
    assert result.success, failed


def _invoke(
    target: Path,
    *arguments: str,
    env: dict[str, str],
    project: Path,
    manifest: "Manifest | None" = None,
) -> "dbtRunnerResult":
    from dbt.cli.main import dbtRunner  # takes seconds, and most test runs need no dbt

    # dbt leaves its log open, and to print is a sixth of a build. `_check` tells what failed.
    general = ["--warn-error", "--log-level-file", "none", "--log-level", "none"]
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    folders += ["--target-path", str(target)]
    runner = dbtRunner(manifest=manifest)
    # dbt looks through the whole stack of calls, nine times a run: pytest's is as deep as its own.
    with mock.patch.dict(os.environ, env), ThreadPoolExecutor(1) as thread:
        return thread.submit(runner.invoke, [*general, *arguments, *folders]).result()
