"""Rules of the dbt project as functions over its manifest.

Each returns what breaks it, one line per breach.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dbt.jsonschemas import JSONSCHEMAS_PATH
from jsonschema import Draft7Validator

# A layer may read those on the right. Quarantine is an end, like the marts: nobody builds on it.
MAY_READ = {
    "staging": {"source:raw", "source:ops", "seed", "staging"},
    "intermediate": {"seed", "staging", "intermediate"},
    "marts": {"staging", "intermediate", "marts"},
    "quarantine": {"staging"},
}
NAMES = {
    "staging": re.compile(r"(stg|base)_[a-z]+__[a-z_]+"),
    "intermediate": re.compile(r"int_[a-z]+__[a-z_]+"),
    "marts": re.compile(r"(fct|dim)_[a-z_]+"),
    "quarantine": re.compile(r"quarantine_[a-z_]+"),
}
FLAG = re.compile(r"(is|has|was)_")
Manifest = dict[str, Any]


def models(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model":
            yield node


def layer_of(manifest: Manifest, unique_id: str) -> str:
    """Return the layer of a model, `seed`, or `source:<name>`."""
    if unique_id in manifest["sources"]:
        return f"source:{manifest['sources'][unique_id]['source_name']}"
    node = manifest["nodes"][unique_id]
    if node["resource_type"] == "seed":
        return "seed"
    return str(node["schema"])


def layers(manifest: Manifest) -> list[str]:
    """staging -> intermediate -> marts; only staging reads sources."""
    breaches = []
    for model in models(manifest):
        for parent in model["depends_on"]["nodes"]:
            if layer_of(manifest, parent) not in MAY_READ[model["schema"]]:
                breaches.append(f"{model['name']} ({model['schema']}) reads {parent}")
    return breaches


def model_names(manifest: Manifest) -> list[str]:
    """A model is named after its layer and stands in that layer's folder."""
    breaches = []
    for model in models(manifest):
        is_named_well = NAMES[model["schema"]].fullmatch(model["name"])
        is_in_folder = model["path"].startswith(model["schema"] + "/")
        if not is_named_well or not is_in_folder:
            breaches.append(f"{model['name']} in {model['path']}")
    return breaches


def column_names(manifest: Manifest) -> list[str]:
    """snake_case; `is_`/`has_`/`was_` is a flag and a flag is so named.

    `n_` and `_days` are whole numbers.
    """
    breaches = []
    for model in models(manifest):
        for name, column in model["columns"].items():
            kind = column["data_type"]
            wrong = not re.fullmatch(r"[a-z_][a-z0-9_]*", name)
            if kind:
                wrong |= (kind == "boolean") != bool(FLAG.match(name))
                wrong |= name.startswith("n_") and kind not in ("integer", "bigint")
                wrong |= name.endswith("_days") and kind not in ("integer", "double precision")
                wrong |= name.endswith("_at") and not kind.startswith("timestamp")
                wrong |= name.endswith("_id") and kind not in ("integer", "bigint", "text")
            if wrong:
                breaches.append(f"{model['name']}.{name} {kind or ''}".rstrip())
    return breaches


def descriptions(manifest: Manifest) -> list[str]:
    """Everything is described; models, seeds and sources begin with their grain."""
    breaches = []
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        if node["resource_type"] not in ("model", "seed", "source"):
            continue
        if not node["description"].startswith("One row "):
            breaches.append(f"{node['name']}: its grain")
        for name, column in node["columns"].items():
            if not column["description"]:
                breaches.append(f"{node['name']}.{name}")
    for exposure in manifest["exposures"].values():
        if not exposure["description"]:
            breaches.append(exposure["name"])
    return breaches


def undescribed(manifest: Manifest, catalog: Manifest) -> list[str]:
    """Name columns that exist in the database and are shown without a description, and those that
    do not exist.
    """
    breaches = []
    for unique_id, node in {**manifest["nodes"], **manifest["sources"]}.items():
        if node["resource_type"] not in ("model", "seed", "source"):
            continue
        if node["config"].get("materialized") == "ephemeral":
            continue  # part of the SQL of others, so the database does not know it
        relation = catalog["nodes"].get(unique_id) or catalog["sources"].get(unique_id, {})
        existing = relation.get("columns", {})
        described = node["columns"]
        for name in existing:
            if name not in described or not described[name]["description"].strip():
                breaches.append(f"{node['name']}.{name}")
        for name in described:
            if name not in existing:
                breaches.append(f"{node['name']}.{name} does not exist")
    return breaches


def keys(manifest: Manifest) -> list[str]:
    """Every model and seed has tests of its key; they read the current build only, seeds aside.

    A model may say why it has none: dbt-project-evaluator asks for the same tests.
    """
    tests_of_model: dict[str, dict[str, Any]] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("test_metadata"):
            tests = tests_of_model.setdefault(node["attached_node"], {})
            tests[node["test_metadata"]["name"]] = node
    breaches = []
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] not in ("model", "seed"):
            continue
        is_model = node["resource_type"] == "model"
        names = ("is_key",)
        if is_model:
            names = ("unique", "not_null")
        if "fct_missing_primary_key_tests" in evaluator_exceptions(node):
            continue
        for name in names:
            test = tests_of_model.get(unique_id, {}).get(name)
            if test is None:
                breaches.append(f"{node['name']}: its key is not tested ({name})")
            elif is_model and "current_build" not in (test["config"]["where"] or ""):
                breaches.append(f"{node['name']}: {name} reads more than the current build")
    return breaches


def evaluator_exceptions(node: dict[str, Any]) -> dict[str, str]:
    """Return the findings of dbt-project-evaluator that a node stands by, with the reasons."""
    exceptions: dict[str, str] = node["config"].get("meta", {}).get("evaluator_exceptions", {})
    return exceptions


def exceptions_have_reasons(manifest: Manifest) -> list[str]:
    """An exception names a check of the evaluator and says why in a sentence.

    A key's tests are due where rows are written.
    """
    breaches = []
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        exceptions = evaluator_exceptions(node)
        for check, reason in exceptions.items():
            if not check.startswith("fct_") or not str(reason).endswith("."):
                breaches.append(f"{node['name']}: {check} needs a reason")
        is_written = node["config"].get("materialized") != "ephemeral"
        if is_written and "fct_missing_primary_key_tests" in exceptions:
            breaches.append(f"{node['name']}: its rows are written, so its key is tested")
    return breaches


def singular_tests(manifest: Manifest) -> list[str]:
    """`assert_*`, a first line that says what a failure means, and no more than the current
    build.
    """
    breaches = []
    for node in manifest["nodes"].values():
        if node["resource_type"] != "test" or node.get("test_metadata"):
            continue
        text = node["raw_code"].lstrip()
        if not node["name"].startswith("assert_") or not text.startswith("-- A row here means: "):
            breaches.append(f"{node['name']}: what a failure means")
        if "current_build') }}" not in text:
            breaches.append(f"{node['name']}: reads more than the current build")
    return breaches


MANIFEST_RULES = (
    layers,
    model_names,
    column_names,
    descriptions,
    keys,
    exceptions_have_reasons,
    singular_tests,
)


@cache
def _validator(kind: str, version: str) -> Draft7Validator:
    return Draft7Validator(
        json.loads((Path(JSONSCHEMAS_PATH) / kind / version).read_text(encoding="utf-8"))
    )


def misspelt(path: Path) -> list[str]:
    """Return what dbt's own JSON schema says about a YAML file.

    Dbt itself does not look on Postgres.
    """
    if path.name == "dbt_project.yml":
        validator = _validator("project", "0.0.110.json")
    else:
        validator = _validator("resources", "latest.json")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    errors = []
    for error in validator.iter_errors(document):
        errors.append(f"{path.name}: {error.json_path}: {error.message}")
    return errors
