"""The dbt project follows its rules of layers, names, descriptions, keys and spelling; each rule can fail."""

import copy
from operator import attrgetter

import pytest

from readmit.contract.definition import PROJECT
from tests.support import dbt_rules

YAML_FILES = [
    PROJECT / "dbt_project.yml",
    *sorted((PROJECT / "models").rglob("*.yml")),
    PROJECT / "seeds/seeds.yml",
]
STAGING = "model.readmit.stg_uci__encounters"
FEATURES = "model.readmit.int_encounters__features"
MART = "model.readmit.fct_encounter_features"


@pytest.mark.parametrize("rule", dbt_rules.MANIFEST_RULES, ids=attrgetter("__name__"))
def test_the_project_keeps_the_rule(rule, dbt_manifest):
    assert rule(dbt_manifest) == []


def reads_raw(nodes):
    nodes[FEATURES]["depends_on"]["nodes"].append("source.readmit.raw.encounters")


def reads_back(nodes):
    nodes[FEATURES]["depends_on"]["nodes"].append(MART)


def renamed(nodes):
    nodes[STAGING]["name"] = "encounters_staged"


def in_another_folder(nodes):
    nodes[STAGING]["path"] = "marts/stg_uci__encounters.sql"


def flag_without_is(nodes):
    nodes[MART]["columns"]["race"]["data_type"] = "boolean"


def count_that_is_text(nodes):
    nodes[MART]["columns"]["n_medications"]["data_type"] = "text"


def column_not_described(nodes):
    nodes[STAGING]["columns"]["verdict"]["description"] = ""


def grain_not_described(nodes):
    nodes[MART]["description"] = "Features."


def node_of_test(nodes, name):
    """Return the id of a dbt test; dbt ends it with a hash."""
    return next(node for node in nodes if node.startswith(f"test.readmit.{name}"))


def key_not_tested(nodes):
    del nodes[node_of_test(nodes, "key_of_mart_is_unique")]


def key_over_all_batches(nodes):
    nodes[node_of_test(nodes, "key_of_staging_is_not_null")]["config"]["where"] = None


def exception_without_a_reason(nodes):
    nodes[STAGING]["config"]["meta"]["evaluator_exceptions"] = {"fct_model_fanout": ""}


def exception_from_the_key_of_written_rows(nodes):
    reason = {"fct_missing_primary_key_tests": "Nobody needs it."}
    nodes[STAGING]["config"]["meta"]["evaluator_exceptions"] = reason


def test_without_a_meaning(nodes):
    raw_code = "select 1 from {{ source('ops', 'current_build') }}"
    nodes[node_of_test(nodes, "assert_patient")]["raw_code"] = raw_code


def test_over_all_batches(nodes):
    raw_code = "-- A row here means: nothing.\nselect 1"
    nodes[node_of_test(nodes, "assert_patient")]["raw_code"] = raw_code


test_without_a_meaning.__test__ = test_over_all_batches.__test__ = False

BREACHES = [
    (dbt_rules.layers, reads_raw, "reads source.readmit.raw.encounters"),
    (dbt_rules.layers, reads_back, f"reads {MART}"),
    (dbt_rules.model_names, renamed, "encounters_staged"),
    (dbt_rules.model_names, in_another_folder, "marts/stg"),
    (dbt_rules.column_names, flag_without_is, "fct_encounter_features.race"),
    (dbt_rules.column_names, count_that_is_text, "n_medications"),
    (dbt_rules.descriptions, column_not_described, "verdict"),
    (dbt_rules.descriptions, grain_not_described, "its grain"),
    (dbt_rules.keys, key_not_tested, "its key is not tested"),
    (dbt_rules.keys, key_over_all_batches, "more than the current build"),
    (dbt_rules.exceptions_have_reasons, exception_without_a_reason, "needs a reason"),
    (dbt_rules.exceptions_have_reasons, exception_from_the_key_of_written_rows, "key is tested"),
    (dbt_rules.singular_tests, test_without_a_meaning, "what a failure means"),
    (dbt_rules.singular_tests, test_over_all_batches, "more than the current build"),
]


@pytest.mark.parametrize(
    ("rule", "breach", "problem"), BREACHES, ids=[breach.__name__ for _, breach, _ in BREACHES]
)
def test_the_rule_can_fail(rule, breach, problem, dbt_manifest):
    broken = copy.deepcopy(dbt_manifest)
    breach(broken["nodes"])
    [line] = rule(broken)
    assert problem in line


@pytest.mark.parametrize("path", YAML_FILES, ids=attrgetter("name"))
def test_keys_are_those_of_dbt(path):
    assert dbt_rules.misspelt(path) == []


@pytest.mark.parametrize("typo", ["descripton: x", "colums: []", "config: {materialised: view}"])
def test_a_misspelt_key_is_noticed(typo, tmp_path):
    path = tmp_path / "models.yml"
    path.write_text(f"version: 2\nmodels:\n  - name: m\n    {typo}\n")
    assert dbt_rules.misspelt(path)


def test_each_folder_has_a_readme():
    for folder in ("staging", "intermediate", "marts", "quarantine"):
        assert (PROJECT / "models" / folder / "README.md").is_file(), folder


def test_lineage_ends_at_the_exposures(dbt_manifest):
    nodes_by_exposure = {}
    for exposure in dbt_manifest["exposures"].values():
        nodes_by_exposure[exposure["name"]] = exposure["depends_on"]["nodes"]
        assert MART in exposure["depends_on"]["nodes"]
    assert set(nodes_by_exposure) == {"readmission_model", "prediction_api", "web_form"}
    assert "model.readmit.dim_patients" in nodes_by_exposure["prediction_api"]


@pytest.mark.parametrize(
    ("source", "field"), [("raw.batches", "loaded_at"), ("ops.published_batches", "published_at")]
)
def test_loaded_and_published_batches_have_a_freshness(dbt_manifest, source, field):
    config = dbt_manifest["sources"][f"source.readmit.{source}"]["config"]
    assert config["loaded_at_field"] == field
    assert config["freshness"]["warn_after"] == {"count": 30, "period": "day"}
    assert config["freshness"]["error_after"] == {"count": 365, "period": "day"}
