"""The request schema against the contract that dbt has now."""

import json

from serving import batch_formats, schema


def test_contract_of_the_project_is_served(contract):
    """Every default of the real contract is a valid request, as JSON and as CSV."""
    found = schema.build(contract)
    row = {name: found.defaults[name] for name in found.inputs}
    asked = found.from_json(json.dumps(row).encode())
    assert (
        found.from_row(
            {
                name: batch_formats.cell_reader(found, name)(str(value))
                for name, value in row.items()
            }
        )
        == asked
    )
    assert (
        found.from_row(row | {name: found.defaults[name] for name in found.history}).history
        == "given"
    )
