"""dbt on a real Postgres.

Accounting, quarantine, release, reruns, history, and one rule with two evaluators.
"""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from jinja2 import Environment

from readmit import db
from readmit.batches import claims, corrections, loading
from readmit.batches.builds import Build
from readmit.contract.definition import PROJECT, Contract
from readmit.contract.derivation import derive_frame
from readmit.contract.stay_columns import icd9
from readmit.docs_site import dbt_docs
from readmit.intake import sample, sources
from readmit.settings import StackSettings
from readmit.tables.numbers import whole_number
from serving import batch_formats
from serving import schema as request_schema
from tests.support import dbt, dbt_rules, raw

BAD_AGE = 7  # index of a row whose age no rule accepts


def read(settings: StackSettings, statement: str) -> pd.DataFrame:
    with (
        db.transaction("postgres", settings.clean_database, settings) as connection,
        connection.cursor() as cur,
    ):
        cur.execute(statement)
        names = [column.name for column in cur.description or ()]
        return pd.DataFrame(cur.fetchall(), columns=names)


def write_source(path: Path) -> list[dict[str, str]]:
    sample.write_csv(path, 1500)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[BAD_AGE]["age"] = "[70-75)"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("dbt")
    rows = write_source(home / "source.csv")
    settings = raw.fresh(home, dataset=str(home / "source.csv"), batch_size=800)
    sources.ensure_source(settings)
    counts = {}
    while batch_id := raw.claim_batch("test", settings):
        loading.load(batch_id, settings)
        Build.of_batch(batch_id).begin(settings)
        dbt.build(settings, home / "target")
        if not counts:
            dbt.build(settings, home / "target")  # a rerun changes nothing: the counts below hold
        counts[batch_id] = Build.of_batch(batch_id).publish(settings)
    return settings, home, rows, counts


def expected_history(rows: list[dict[str, str]], without: str | None = None) -> pd.DataFrame:
    """Rebuild a part of the history from the file, patient by patient."""
    frame = pd.DataFrame(rows).astype(
        {"encounter_id": "int64", "patient_nbr": "int64", "time_in_hospital": "int64"}
    )
    if without:
        frame = frame[frame.encounter_id != int(without)]
    frame = frame.sort_values("encounter_id")
    by_patient = frame.groupby("patient_nbr")
    frame["n_prior_stays"] = by_patient.cumcount()
    frame["prior_stay_days_total"] = by_patient.time_in_hospital.cumsum() - frame.time_in_hospital
    within_30d = (frame.readmitted == "<30").astype(int)
    frame["n_prior_readmitted_30d"] = within_30d.groupby(frame.patient_nbr).cumsum() - within_30d
    names = ["encounter_id", "n_prior_stays", "prior_stay_days_total", "n_prior_readmitted_30d"]
    return frame[names].set_index("encounter_id")


def check_history(settings: StackSettings, expected: pd.DataFrame) -> None:
    mart = read(settings, "select * from marts.fct_encounter_features").set_index("encounter_id")
    assert mart.index.is_unique
    chosen = mart[list(expected.columns)].sort_index().astype("int64")
    pd.testing.assert_frame_equal(chosen, expected.loc[chosen.index].astype("int64"))


def test_batches_add_up_and_release_keeps_history_exact(world):
    settings, home, rows, counts = world
    bad = rows[BAD_AGE]["encounter_id"]
    assert sum(count.n_rows for count in counts.values()) == 1500
    assert sum(count.n_quarantined for count in counts.values()) == 1
    quarantined = read(settings, "select * from quarantine.encounters")
    assert quarantined.reason.tolist() == ["age is not a known value"]
    assert quarantined.raw_values[0]["age"] == "[70-75)"
    check_history(settings, expected_history(rows, without=bad))

    source_row = int(quarantined._source_row[0])
    release(settings, home, quarantined._batch_id[0], source_row)
    check_history(settings, expected_history(rows))
    after = read(settings, "select * from quarantine.encounters")
    assert after.released_by.tolist() == ["tester"]


def release(settings: StackSettings, home: Path, batch_id: str, source_row: int) -> None:
    corrections.release(batch_id, source_row, {"age": "[70-80)"}, "tester", settings)
    build = claims.claim("a release", settings)
    assert build.kind == "correction"
    build.begin(settings)
    dbt.build(settings, home / "target")
    build.publish(settings)


def test_macro_and_python_derive_the_same(world):
    settings, home, _, _ = world
    contract = Contract.from_manifest(home / "target" / "manifest.json")
    mart = read(settings, "select * from marts.fct_encounter_features")
    names = [feature.name for feature in contract.derived]
    again = derive_frame(contract, mart.drop(columns=names))
    for name in names:
        assert (again[name] == mart[name]).all(), name
    assert not mart.isna().any().any()


def test_scoring_reads_a_source_row_as_dbt_types_raw(world):
    """The API takes rows in the layout of the file: each gets the inputs that the mart has."""
    settings, home, rows, _ = world
    contract = Contract.from_manifest(home / "target" / "manifest.json")
    requests = request_schema.build(contract)
    mart = read(settings, "select * from marts.fct_encounter_features").set_index("encounter_id")
    by_id = {int(row["encounter_id"]): row for row in rows}
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), extrasaction="ignore")
    writer.writeheader()
    # The released row has its corrected age in the mart only.
    ids = []
    for encounter_id in mart.index:
        if by_id[encounter_id]["age"] == mart.age_band[encounter_id]:
            ids.append(encounter_id)
            writer.writerow(by_id[encounter_id])
    typed = batch_formats.csv_rows(requests, file.getvalue().encode(), 10_000)
    assert len(ids) > 1000
    for encounter_id, row in zip(ids, typed, strict=True):
        assert row["encounter_id"] == encounter_id
        for name in requests.inputs:
            assert row[name] == mart.at[encounter_id, name], (encounter_id, name)
    document = json.dumps([by_id[encounter_id] for encounter_id in ids]).encode()
    assert batch_formats.json_rows(requests, document, 10_000) == typed


def test_cells_are_read_as_the_macros_read_them(world):
    """Values of all kinds: the API reads each value that SQL accepts as SQL does."""
    settings, _, _, _ = world
    codes = ["8", "08", "008", "250", "250.1", "250.13", "250.x", "V4", "E8", "?", "", "1", "99"]
    numbers = ["7", "07", "0", "999999999", "-1", "", "x", "1_0", "\u0663", "nan", "1e3", " 7"]
    text = (PROJECT / "macros" / "staging.sql").read_text()
    begin = text.index("{# A whole number")
    end = text.index("{% macro when_outside")
    calls = "{{ icd9('c') }}#{{ whole_number('c') }}"
    rendered = Environment().from_string(text[begin:end] + calls).render()
    as_code, as_number = rendered.strip().split("#")
    for cells, statement, function in (
        (codes, as_code, icd9),
        (numbers, as_number, whole_number),
    ):
        for cell in cells:
            (row,) = raw.query(
                settings,
                settings.clean_database,
                f"select {statement} from (select %s::text as c) as t",
                cell,
                role="reader",
            )
            assert row[0] is None or function(cell) == row[0], cell


def test_serving_reads_the_history_of_a_next_stay(world):
    settings, _, rows, _ = world
    n_stays_by_patient = Counter(row["patient_nbr"] for row in rows)
    [(patient, n_stays)] = n_stays_by_patient.most_common(1)
    served = raw.query(
        settings,
        settings.clean_database,
        "select n_prior_stays from marts.dim_patients where patient_nbr = %s",
        int(patient),
        role="serving",
    )
    assert served == [(n_stays,)]


def test_nothing_to_build_changes_nothing(world):
    settings, home, _, _ = world
    before = read(settings, "select count(*) from intermediate.int_encounters__features")
    dbt.build(settings, home / "target")
    assert read(settings, "select count(*) from intermediate.int_encounters__features").equals(
        before
    )


def test_dbt_unit_tests_pass(world):
    settings, home, _, _ = world
    dbt.run(home / "target", "test", "--select", "test_type:unit", env=raw.environment(settings))


@pytest.fixture
def as_dbt(world, monkeypatch):
    """Point this process to the world's database, as in a DAG."""
    for name, value in raw.environment(world[0]).items():
        monkeypatch.setenv(name, value)


def test_every_column_on_the_page_is_described(as_dbt, tmp_path):
    page = dbt_docs.page(tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    catalog = json.loads((tmp_path / "catalog.json").read_text())
    full = dbt_docs.described(written, catalog)
    assert dbt_rules.undescribed(full, catalog) == []
    assert json.dumps(full) in page
    assert "stg_uci__encounters.n_medications" in dbt_rules.undescribed(written, catalog)
    catalog["nodes"]["model.readmit.quarantine_encounters"]["columns"]["new"] = {}
    assert dbt_rules.undescribed(dbt_docs.described(written, catalog), catalog) == [
        "quarantine_encounters.new"
    ]


def test_the_sources_of_a_new_build_are_fresh(as_dbt):
    assert dbt_docs.freshness() == {"raw.batches": "pass", "ops.published_batches": "pass"}
