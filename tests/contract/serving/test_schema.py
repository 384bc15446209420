"""The request schema against the contract that dbt has now."""

import json

from readmit.contract.stay_columns import cell_reader
from serving import schema


def test_contract_of_the_project_is_served(contract):
    """Every default of the real contract is a valid request, as JSON and as CSV."""
    found = schema.build(contract)
    row = {name: found.defaults[name] for name in found.inputs}
    asked = found.from_json(json.dumps(row).encode())
    assert (
        found.from_row(
            {
                name: cell_reader(found.features_by_name[name], is_id=False, is_source=False)(
                    str(value)
                )
                for name, value in row.items()
            }
        )
        == asked
    )
    assert (
        found.from_row(row | {name: found.defaults[name] for name in found.history}).history
        == "given"
    )
