"""The dbt project as a model of its kind: layers, names, descriptions, keys, spelling; each rule is seen to fail."""

import copy

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


@pytest.mark.parametrize("rule", dbt_rules.MANIFEST_RULES, ids=lambda rule: rule.__name__)
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


def grain_not_said(nodes):
    nodes[MART]["description"] = "Features."


def key_not_tested(nodes):
    nodes.pop(next(name for name in nodes if name.startswith("test.readmit.key_of_mart_is_unique")))


def key_over_all_batches(nodes):
    name = next(
        name for name in nodes if name.startswith("test.readmit.key_of_staging_is_not_null")
    )
    nodes[name]["config"]["where"] = None


def exception_without_a_reason(nodes):
    nodes[STAGING]["config"]["meta"]["evaluator_exceptions"] = {"fct_model_fanout": ""}


def exception_from_the_key_of_written_rows(nodes):
    reason = {"fct_missing_primary_key_tests": "Nobody needs it."}
    nodes[STAGING]["config"]["meta"]["evaluator_exceptions"] = reason


def test_without_a_meaning(nodes):
    name = next(name for name in nodes if name.startswith("test.readmit.assert_patient"))
    nodes[name]["raw_code"] = "select 1 from {{ source('ops', 'current_build') }}"


def test_over_all_batches(nodes):
    name = next(name for name in nodes if name.startswith("test.readmit.assert_patient"))
    nodes[name]["raw_code"] = "-- A row here means: nothing.\nselect 1"


test_without_a_meaning.__test__ = test_over_all_batches.__test__ = False

BREACHES = [
    (dbt_rules.layers, reads_raw, "reads source.readmit.raw.encounters"),
    (dbt_rules.layers, reads_back, f"reads {MART}"),
    (dbt_rules.model_names, renamed, "encounters_staged"),
    (dbt_rules.model_names, in_another_folder, "marts/stg"),
    (dbt_rules.column_names, flag_without_is, "fct_encounter_features.race"),
    (dbt_rules.column_names, count_that_is_text, "n_medications"),
    (dbt_rules.descriptions, column_not_described, "verdict"),
    (dbt_rules.descriptions, grain_not_said, "its grain"),
    (dbt_rules.keys, key_not_tested, "its key is not tested"),
    (dbt_rules.keys, key_over_all_batches, "more than the current build"),
    (dbt_rules.exceptions_have_reasons, exception_without_a_reason, "needs a reason"),
    (dbt_rules.exceptions_have_reasons, exception_from_the_key_of_written_rows, "key is tested"),
    (dbt_rules.singular_tests, test_without_a_meaning, "what a failure means"),
    (dbt_rules.singular_tests, test_over_all_batches, "more than the current build"),
]


@pytest.mark.parametrize(
    ("rule", "breach", "said"), BREACHES, ids=[breach.__name__ for _, breach, _ in BREACHES]
)
def test_the_rule_can_fail(rule, breach, said, dbt_manifest):
    broken = copy.deepcopy(dbt_manifest)
    breach(broken["nodes"])
    [line] = rule(broken)
    assert said in line


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_keys_are_those_of_dbt(path):
    assert dbt_rules.misspelt(path) == []


@pytest.mark.parametrize("typo", ["descripton: x", "colums: []", "config: {materialised: view}"])
def test_a_misspelt_key_is_seen(typo, tmp_path):
    path = tmp_path / "models.yml"
    path.write_text(f"version: 2\nmodels:\n  - name: m\n    {typo}\n")
    assert dbt_rules.misspelt(path)


def test_each_folder_says_its_rule():
    for folder in ("staging", "intermediate", "marts", "quarantine"):
        assert (PROJECT / "models" / folder / "README.md").is_file(), folder


def test_lineage_ends_at_those_who_read_it(dbt_manifest):
    read = {
        exposure["name"]: exposure["depends_on"]["nodes"]
        for exposure in dbt_manifest["exposures"].values()
    }
    assert set(read) == {"readmission_model", "prediction_api", "web_form"}
    assert all(MART in nodes for nodes in read.values())
    assert "model.readmit.dim_patients" in read["prediction_api"]


@pytest.mark.parametrize(
    ("source", "field"), [("raw.batches", "loaded_at"), ("ops.published_batches", "published_at")]
)
def test_what_arrives_and_what_is_published_have_a_freshness(dbt_manifest, source, field):
    config = dbt_manifest["sources"][f"source.readmit.{source}"]["config"]
    assert config["loaded_at_field"] == field
    assert config["freshness"]["warn_after"] == {"count": 30, "period": "day"}
    assert config["freshness"]["error_after"] == {"count": 365, "period": "day"}
