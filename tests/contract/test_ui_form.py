"""The form against the contract that dbt has now, and against the request schema that the API makes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from readmit.contract import Contract
from serving import schema
from ui import batchfile, examples, form
from ui.messages import LANGUAGES

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    target = str(tmp_path_factory.mktemp("target"))
    command = [str(Path(sys.executable).parent / "dbt"), "parse", "--no-partial-parse", "--target-path", target]
    command += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--log-path", target]
    environment = os.environ | {"TRANSFORMER_PASSWORD": "unused", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return Contract.from_manifest(Path(target) / "manifest.json", PROJECT / "seeds")


@pytest.fixture(params=["en", "es"])
def fields(contract, request):
    plain = json.loads(contract.to_json())
    return form.fields(plain, lambda name: plain["seeds"][name], request.param, LANGUAGES[request.param][1])


def test_every_input_has_a_label_a_group_and_a_legal_default(contract, fields):
    assert [field.name for field in fields] == [feature.name for feature in contract.inputs]
    for field in fields:
        assert field.label
        assert field.group not in {"Other", "Otros"}, field.name
        assert not field.options or field.default in field.options, field.name


def test_the_api_takes_what_the_form_and_the_template_send(contract, fields):
    requests = schema.build(contract)
    for row in examples.variations(fields, 30):
        assert requests.from_row(row, text=False).features
    template = batchfile.read(batchfile.template(fields).encode(), fields)
    assert requests.from_row(batchfile.typed(template.rows[0], fields), text=False).features
