"""The request schema against the contract that dbt has now."""

import json
import os
import subprocess
import sys
from pathlib import Path

from readmit.contract import Contract
from serving import schema


def test_contract_of_the_project_is_served(tmp_path):
    """Every default of the real contract is a valid request, as JSON and as CSV."""
    root = Path(__file__).resolve().parents[2] / "dbt_project"
    dbt = [str(Path(sys.executable).parent / "dbt"), "parse", "--no-partial-parse", "--target-path", str(tmp_path)]
    places = ["--project-dir", str(root), "--profiles-dir", str(root), "--log-path", str(tmp_path)]
    passwords = {"TRANSFORMER_PASSWORD": "unused", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run([*dbt, *places], check=True, env=os.environ | passwords, capture_output=True)
    found = schema.build(Contract.from_manifest(tmp_path / "manifest.json", root / "seeds"))
    row = {name: found.defaults[name] for name in found.inputs}
    asked = found.from_json(json.dumps(row).encode())
    assert found.from_row({name: found.reader(name)(str(value)) for name, value in row.items()}) == asked
    assert found.from_row(row | {name: found.defaults[name] for name in found.history}).history == "given"
