"""What dbt says about the data: its documentation as one page, and how old its sources are."""

import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from readmit.contract.definition import MART, PROJECT

log = logging.getLogger("dbt_docs")

SECONDS = 300
Document = dict[str, Any]


class DocsFailed(Exception):
    """dbt could not generate its pages; the message holds what it said."""


class SourcesTooOld(Exception):
    """A source is older than it may be, or dbt could not tell; the message names it."""


def page(target: Path) -> str:
    """Return dbt's documentation as one page; it loads nothing from elsewhere. dbt writes into `target`.

    Raises:
        DocsFailed: dbt failed.
    """
    done = _dbt(target, "docs", "generate", "--static")
    if done.returncode != 0:
        raise DocsFailed("dbt docs generate: " + _said(done))
    manifest, catalog = (target / name for name in ("manifest.json", "catalog.json"))
    written = manifest.read_text(encoding="utf-8")
    full = json.dumps(
        described(json.loads(written), json.loads(catalog.read_text(encoding="utf-8")))
    )
    return (target / "static_index.html").read_text(encoding="utf-8").replace(written, full)


def described(manifest: Document, catalog: Document) -> Document:
    """Return the manifest with a description for every column that a model has in the database.

    The contract describes each feature once, at the mart; the layers below carry the same columns under the same names
    and would show them blank.
    """
    found = copy.deepcopy(manifest)
    models = {key: node for key, node in found["nodes"].items() if node["resource_type"] == "model"}
    contract = next(node["columns"] for node in models.values() if node["name"] == MART)
    for unique_id, node in models.items():
        names = catalog["nodes"].get(unique_id, {"columns": {}})["columns"]
        node["columns"] |= {
            name: contract[name]
            for name in names
            if name in contract and name not in node["columns"]
        }
    return found


def freshness() -> dict[str, str]:
    """Ask dbt how old the sources are; returns `pass` or `warn` by source.

    Raises:
        SourcesTooOld: one is beyond its limit, or cannot be asked.
    """
    with tempfile.TemporaryDirectory() as name:
        target = Path(name)
        done = _dbt(target, "source", "freshness", "--output", str(target / "sources.json"))
        if not (target / "sources.json").is_file():
            raise SourcesTooOld("dbt source freshness: " + _said(done))
        results = json.loads((target / "sources.json").read_text(encoding="utf-8"))["results"]
    return judged(results)


def judged(results: list[Document]) -> dict[str, str]:
    """Return dbt's verdict by source; see `freshness`."""
    verdicts = {
        each["unique_id"].removeprefix("source.readmit."): str(each["status"]) for each in results
    }
    for source, verdict in verdicts.items():
        log.log(
            logging.INFO if verdict == "pass" else logging.WARNING, "source %s: %s", source, verdict
        )
    if bad := sorted(
        source for source, verdict in verdicts.items() if verdict not in ("pass", "warn")
    ):
        raise SourcesTooOld("too old, or not to be asked: " + ", ".join(bad))
    return verdicts


def _dbt(target: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dbt.cli.main", *arguments, "--target-path", str(target)]
    command += [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(PROJECT),
        "--log-path",
        str(target),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, env=os.environ.copy()
    )


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stdout + done.stderr).strip()[-1000:]
