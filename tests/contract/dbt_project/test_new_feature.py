"""A feature added to the contract's YAML and to the model's SQL, in a copy of the project, arrives everywhere."""

import json
import shutil
from pathlib import Path

import pytest

from expectations import publish_suite
from readmit.batches import loading
from readmit.batches.builds import Build
from readmit.contract.definition import PROJECT, Contract
from readmit.contract.derivation import defaults, derive_row
from readmit.docs_site.data_dictionary import page
from readmit.intake import sample, sources
from serving import schema
from tests.support import dbt, raw
from training import features
from ui import form
from ui.language import load

NEW = "is_specialty_recorded"
DERIVED = "has_recorded_specialty_or_change"
BEFORE = "      - name: is_medication_changed\n"
YAML = f"""
      - name: {NEW}
        data_type: boolean
        description: "Whether the admitting physician's specialty was recorded."
        config:
          meta:
            role: input
            kind: flag
            default: true
            form:
              group: {{en: Stay, es: Ingreso}}
              label: {{en: "Specialty recorded", es: "Especialidad registrada"}}
              help: {{en: "Known at admission", es: "Conocida en el ingreso"}}
      - name: {DERIVED}
        data_type: boolean
        description: "Either of two inputs."
        config:
          meta:
            role: derived
            kind: flag
            derive: {{op: any, of: [{NEW}, is_medication_changed], equals: true}}
""".lstrip("\n")
RAW = "models/staging/raw"
SQL = [
    (
        f"{RAW}/base/base_raw__encounters_typed.sql",
        "        row_number() over",
        f"        medical_specialty <> '?' as {NEW},\n",
    ),
    (
        f"{RAW}/stg_uci__encounters.sql",
        "        diagnosis_1, diagnosis_2, diagnosis_3, is_medication_changed\n",
        f"        {NEW},\n",
    ),
]


def put_before(path: Path, following: str, text: str) -> None:
    before = path.read_text(encoding="utf-8")
    assert before.count(following) == 1, following
    path.write_text(before.replace(following, text + following), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("grown") / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    put_before(copy / "models/marts/fct_encounter_features.yml", BEFORE, YAML)
    for path, following, text in SQL:
        put_before(copy / path, following, text)
    dbt.parse(copy / "target", project=copy)
    return copy


@pytest.fixture(scope="module")
def contract(project) -> Contract:
    return Contract.from_manifest(project / "target" / "manifest.json", project / "seeds")


def test_it_is_in_the_contract_under_another_hash(contract, dbt_manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(dbt_manifest))
    plain = Contract.from_manifest(tmp_path / "manifest.json")
    assert set(contract.by_name) - set(plain.by_name) == {NEW, DERIVED}
    assert contract.hash != plain.hash
    assert derive_row(contract, defaults(contract))[DERIVED] is True


def test_the_api_asks_for_it(contract):
    requests = schema.build(contract)
    assert NEW in requests.inputs
    assert DERIVED not in requests.inputs
    described = requests.model.model_json_schema()["properties"][NEW]
    assert described["description"].startswith("Whether the admitting")
    row = {name: requests.defaults[name] for name in requests.inputs}
    assert requests.from_json(json.dumps(row | {NEW: False}).encode()).values


@pytest.mark.parametrize(
    ("language", "label"), [("en", "Specialty recorded"), ("es", "Especialidad registrada")]
)
def test_the_form_shows_it(contract, language, label):
    fields = form.fields(contract.features, contract.seeds.__getitem__, load(language))
    [field] = [field for field in fields if field.name == NEW]
    assert field.label == label


def test_training_reads_it(contract):
    assert {NEW, DERIVED} <= set(features.columns(contract))
    assert {NEW, DERIVED} <= set(features.numbers(contract))
    assert {NEW, DERIVED} <= set(features.signature(contract).inputs.input_names())


def test_the_gate_checks_it(contract):
    suite = publish_suite.features(contract, n_rows=1)
    checked = {getattr(expectation, "column", None) for expectation in suite.expectations}
    assert {NEW, DERIVED} <= checked


def test_the_data_dictionary_lists_it(contract):
    assert f"| `{NEW}` | boolean |" in page(contract)
    assert f"| `{DERIVED}` | boolean |" in page(contract)


def test_the_mart_computes_it(project, tmp_path):
    sample.write_csv(tmp_path / "source.csv", 400)
    settings = raw.fresh(tmp_path, dataset=str(tmp_path / "source.csv"))
    sources.ensure_source(settings)
    batch_id = raw.claim_batch("test", settings)
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    dbt.build(settings, project / "target", project=project)
    Build.of_batch(batch_id).publish(settings)
    statement = f"""
        select
            count(*) filter (where {NEW}),
            count(*) filter (where not {NEW}),
            bool_and({DERIVED} = ({NEW} or is_medication_changed))
        from marts.fct_encounter_features
    """
    [(recorded, missing, agree)] = raw.query(settings, settings.clean_database, statement)
    assert recorded > 0
    assert missing > 0
    assert agree
