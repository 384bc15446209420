"""The request schema against the contract that dbt has now."""

import json

from readmit.contract.stay_columns import cell_reader
from serving import schema


def test_contract_of_the_project_is_served(contract):
    """Every default of the real contract is a valid request, as JSON and as CSV."""
    requests = schema.build(contract)
    row = {name: requests.defaults[name] for name in requests.inputs}
    row_of_csv = {}
    for name, value in row.items():
        read_cell = cell_reader(requests.features_by_name[name], is_id=False, is_source=False)
        row_of_csv[name] = read_cell(str(value))
    assert requests.from_row(row_of_csv) == requests.from_json(json.dumps(row).encode())
    history = {name: requests.defaults[name] for name in requests.history}
    assert requests.from_row(row | history).history == "given"
