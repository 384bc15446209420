"""The contract is read from the manifest, errors name the column, and derived features are declared."""

import copy
import json

import pytest

from readmit.contract.definition import MART, PROJECT, Contract, ContractError
from readmit.contract.derivation import defaults, derive_frame, derive_row
from readmit.docs_site.data_dictionary import page


def mart(manifest):
    return next(node for node in manifest["nodes"].values() if node["name"] == MART)


def rewritten(manifest, tmp_path, change):
    changed = copy.deepcopy(manifest)
    change(mart(changed)["columns"])
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(changed))
    return path


def test_json_round_trip_keeps_the_hash(contract):
    again = Contract.from_json(contract.to_json())
    assert again == contract
    assert again.hash == contract.hash


def test_a_changed_contract_is_refused(contract):
    with pytest.raises(ContractError, match="hash"):
        Contract.from_json(contract.to_json().replace("Race as recorded", "Race as guessed"))


@pytest.mark.parametrize("missing", ["role", "kind", "default", "form", "values"])
def test_a_column_without_a_part_is_named(dbt_manifest, tmp_path, missing):
    def change(columns):
        del columns["race"]["config"]["meta"][missing]

    path = rewritten(dbt_manifest, tmp_path, change)
    with pytest.raises(ContractError, match="race"):
        Contract.from_manifest(path)


def test_a_rule_over_a_column_that_does_not_exist_names_the_feature(dbt_manifest, tmp_path):
    def change(columns):
        columns["n_prior_year_visits"]["config"]["meta"]["derive"]["of"] = ["n_visits"]

    with pytest.raises(ContractError, match=r"n_prior_year_visits.*n_visits"):
        Contract.from_manifest(rewritten(dbt_manifest, tmp_path, change))


def test_a_feature_added_to_the_yaml_arrives(dbt_manifest, tmp_path):
    def change(columns):
        columns["is_insulin_up"] = {
            "name": "is_insulin_up",
            "data_type": "boolean",
            "description": "Whether insulin went up.",
            "config": {
                "meta": {
                    "role": "derived",
                    "kind": "flag",
                    "derive": {"op": "any", "of": ["insulin"], "in": ["Up"]},
                }
            },
        }

    grown = Contract.from_manifest(rewritten(dbt_manifest, tmp_path, change))
    assert derive_row(grown, defaults(grown) | {"insulin": "Up"})["is_insulin_up"] is True


def test_defaults_are_legal_and_derive_a_full_row(contract):
    row = derive_row(contract, defaults(contract))
    assert set(row) == set(contract.by_name)
    for feature in contract.features:
        if feature.kind != "number":
            assert row[feature.name] in feature.allowed_values(contract), feature.name


def test_row_and_frame_agree(contract):
    import pandas as pd

    rows = [
        defaults(contract),
        defaults(contract) | {"metformin": "Up"},
        defaults(contract) | {"diagnosis_1": "unknown"},
    ]
    expected = pd.DataFrame([derive_row(contract, row) for row in rows])
    pd.testing.assert_frame_equal(
        derive_frame(contract, pd.DataFrame(rows)), expected, check_dtype=False
    )


def test_the_data_dictionary_is_current(contract):
    committed = PROJECT.parent / "docs" / "data-dictionary.md"
    assert committed.read_text() == page(contract), (
        "python -m readmit.docs_site.data_dictionary > docs/data-dictionary.md"
    )
