"""dbt's view of the data: its documentation as one page, and the age of its sources."""

import copy
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from readmit import libpq
from readmit.contract.definition import MART, PROJECT

log = logging.getLogger("dbt_docs")

TIMEOUT_SECONDS = 300
# A batch or a training that runs meanwhile needs the cores more than the pages do.
BACKGROUND = ("nice", "-n", "10")
SOURCE_PREFIX = "source.readmit."
FOLDERS = ("macros", "models", "seeds", "tests")  # of the project; beside them dbt writes its own
Document = dict[str, Any]


class DocsFailed(Exception):
    """dbt could not generate its pages. The message holds the end of its output."""


class SourcesTooOld(Exception):
    """A source is older than allowed, or dbt could not tell. The message names it."""


def page(target: Path) -> str:
    """Return dbt's documentation as one page that loads nothing from elsewhere.

    Args:
        target: the folder that dbt writes into.

    Raises:
        DocsFailed: dbt failed.
    """
    result = _dbt(target, "docs", "generate", "--static")
    if result.returncode != 0:
        raise DocsFailed("dbt docs generate: " + _output(result))
    manifest_text = (target / "manifest.json").read_text(encoding="utf-8")
    catalog = json.loads((target / "catalog.json").read_text(encoding="utf-8"))
    manifest = described(json.loads(manifest_text), catalog)
    # The page holds the manifest as dbt wrote it.
    static_page = (target / "static_index.html").read_text(encoding="utf-8")
    return static_page.replace(manifest_text, json.dumps(manifest))


def described(manifest: Document, catalog: Document) -> Document:
    """Return the manifest with a description for every column that a model has in the database.

    The contract describes each feature once, at the mart. The layers below carry the same columns
    under the same names and would show them without a description.
    """
    result = copy.deepcopy(manifest)
    models = {}
    for unique_id, node in result["nodes"].items():
        if node["resource_type"] == "model":
            models[unique_id] = node
    mart = next(node for node in models.values() if node["name"] == MART)
    for unique_id, node in models.items():
        in_database = catalog["nodes"].get(unique_id, {"columns": {}})["columns"]
        for name in in_database:
            if name in mart["columns"]:
                node["columns"].setdefault(name, mart["columns"][name])
    return result


def project_digest() -> str:
    """Return a sha256 over the files of the dbt project, which the pages are generated from."""
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((PROJECT / folder).rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(PROJECT).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def freshness() -> dict[str, str]:
    """Ask dbt for the age of the sources; returns `pass` or `warn` by source.

    Raises:
        SourcesTooOld: a source is beyond its limit, or dbt could not query it.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "sources.json"
        result = _dbt(Path(folder), "source", "freshness", "--output", str(output))
        if not output.is_file():
            raise SourcesTooOld("dbt source freshness: " + _output(result))
        results = json.loads(output.read_text(encoding="utf-8"))["results"]
    return judged(results)


def judged(results: Sequence[Document]) -> dict[str, str]:
    """Return dbt's verdict by source; see `freshness`."""
    verdicts = {}
    too_old = []
    for result in results:
        source = result["unique_id"].removeprefix(SOURCE_PREFIX)
        verdict = str(result["status"])
        verdicts[source] = verdict
        level = logging.INFO if verdict == "pass" else logging.WARNING
        log.log(level, "source %s: %s", source, verdict)
        if verdict not in ("pass", "warn"):
            too_old.append(source)
    if too_old:
        raise SourcesTooOld("too old, or not to be queried: " + ", ".join(sorted(too_old)))
    return verdicts


def _dbt(target: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    folders = {
        "--target-path": target,
        "--project-dir": PROJECT,
        "--profiles-dir": PROJECT,
        "--log-path": target,
    }
    command = [*BACKGROUND, sys.executable, "-m", "dbt.cli.main", *arguments]
    for option, folder in folders.items():
        command += [option, str(folder)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
        env=os.environ | libpq.environment(),
    )


def _output(result: "subprocess.CompletedProcess[str]") -> str:
    return (result.stdout + result.stderr).strip()[-1000:]
