"""The row rules, run by dbt itself, on a file with one bad value per row.

One of its rows is released from end to end.
"""

from pathlib import Path

import pytest

from readmit.batches import corrections, loading
from readmit.batches.builds import Build
from readmit.intake import sample, sources
from readmit.intake.layout import COLUMNS
from readmit.settings import StackSettings
from tests.support import dbt, raw

BAD: list[tuple[str, str, str]] = [
    ("race", "", "race is not a known value"),
    ("race", "NULL", "race is not a known value"),
    ("race", " Caucasian ", "race is not a known value"),
    ("race", "Martian", "race is not a known value"),
    ("race", "'; drop table landing.encounters; --", "race is not a known value"),
    ("race", "=cmd()", "race is not a known value"),
    ("race", r"\.", "race is not a known value"),
    ("race", r"\N", "race is not a known value"),
    ("race", "None", "race is not a known value"),
    ("race", "NaN", "race is not a known value"),
    ("race", "<script>alert(1)</script>", "race is not a known value"),
    ("race", "${race} {{ 7 * 7 }} %s", "race is not a known value"),
    ("race", "\x1b[31mred", "race is not a known value"),
    ("age", "[70-75)", "age is not a known value"),
    ("age", "[70-80]", "age is not a known value"),
    ("age", "?", "age is not a known value"),
    ("weight", "NULL", "weight is not a known value"),
    ("A1Cresult", "nan", "a1cresult is not a known value"),
    ("time_in_hospital", "3.0", "time_in_hospital is not a number in range"),
    ("time_in_hospital", "99", "time_in_hospital is not a number in range"),
    ("time_in_hospital", "0", "time_in_hospital is not a number in range"),
    ("time_in_hospital", "15", "time_in_hospital is not a number in range"),
    ("time_in_hospital", "1e0", "time_in_hospital is not a number in range"),
    ("time_in_hospital", "", "time_in_hospital is not a number in range"),
    ("num_medications", "+3", "num_medications is not a number in range"),
    ("num_medications", "-3", "num_medications is not a number in range"),
    ("number_diagnoses", "nine", "number_diagnoses is not a number in range"),
    ("num_lab_procedures", "9" * 30, "num_lab_procedures is not a number in range"),
    ("encounter_id", "?", "encounter_id is not a number"),
    ("encounter_id", "9223372036854775808", "encounter_id is not a number"),
    ("encounter_id", "0", "encounter_id is not a number"),
    ("patient_nbr", "0", "patient_nbr is not a number"),
    ("patient_nbr", "?", "patient_nbr is not a number"),
    ("patient_nbr", "", "patient_nbr is not a number"),
    ("patient_nbr", "1.0", "patient_nbr is not a number"),
    ("patient_nbr", "-1", "patient_nbr is not a number"),
    ("patient_nbr", "9223372036854775808", "patient_nbr is not a number"),
    ("insulin", "Maybe", "insulin is not a known value"),
    ("insulin", "STEADY", "insulin is not a known value"),
    ("readmitted", "perhaps", "readmitted is not a known value"),
    ("readmitted", "N", "readmitted is not a known value"),
    ("readmitted", "<30 ", "readmitted is not a known value"),
    ("readmitted", " <30", "readmitted is not a known value"),
    ("readmitted", "?", "readmitted is not a known value"),
    ("discharge_disposition_id", "77", "discharge_disposition_id is not a known code"),
    ("admission_source_id", "99", "admission_source_id is not a known code"),
    ("diag_1", "X99.999", "diag_1 is not a known code"),
    ("diabetesMed", "maybe", "diabetesMed contradicts the drugs"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    """A stack whose first batch, of one patient split, holds each bad value in a row of its own."""
    folder = tmp_path_factory.mktemp("verdicts")
    source = folder / "bad.csv"
    # Few enough rows for one train batch; validation and test are built first, as in any run.
    sample.write_csv(source, n_rows=1_500)
    lines = source.read_text().splitlines()
    for row, (column, value, _) in enumerate(BAD, start=1):
        values = lines[row].split(",")
        values[COLUMNS.index(column)] = value
        lines[row] = ",".join(values)
    source.write_text("\n".join([*lines, ""]))
    stack_settings = raw.fresh(folder, dataset=str(source), batch_size=5_000)
    sources.ensure_source(stack_settings)
    while (batch_id := raw.claim_batch("run", stack_settings)) is not None:
        loading.load(batch_id, stack_settings)
        Build.of_batch(batch_id).begin(stack_settings)
        dbt.build(stack_settings, folder / "dbt")
        Build.of_batch(batch_id).publish(stack_settings)
    return stack_settings


def test_each_bad_row_is_held_back_with_its_reason(settings: StackSettings) -> None:
    statement = "select _source_row, reason from quarantine.encounters order by _source_row"
    rows = raw.query(settings, settings.clean_database, statement, role="reader")
    # A bad drug state also contradicts `diabetesMed` in some rows: the first reason is that of BAD.
    reasons = [(row, reason.split("; ")[0]) for row, reason in rows]
    expected = [(row, reason) for row, (_, _, reason) in enumerate(BAD, start=1)]
    assert reasons == expected


def test_accounting_holds_for_every_batch(settings: StackSettings) -> None:
    statement = (
        "select sum(n_rows), bool_and(n_rows = n_features + n_quarantined + n_excluded)"
        " from ops.published_batches where kind = 'batch'"
    )
    assert raw.query(settings, settings.clean_database, statement) == [(1_500, True)]


def test_corrected_row_reaches_the_mart_once(settings: StackSettings, tmp_path: Path) -> None:
    statement = "select _batch_id from quarantine.encounters where _source_row = 4"
    [(batch_id,)] = raw.query(settings, settings.clean_database, statement, role="reader")
    mart = "select count(*) from marts.fct_encounter_features"
    [(before,)] = raw.query(settings, settings.clean_database, mart, role="trainer")
    build_id = corrections.release(batch_id, 4, {"race": "Asian"}, "a test", settings)
    raw.correction(build_id).begin(settings)
    dbt.build(settings, tmp_path)
    counts = raw.correction(build_id).publish(settings)
    assert counts.n_rows == counts.n_features + counts.n_quarantined + counts.n_excluded
    assert raw.query(settings, settings.clean_database, mart, role="trainer") == [(before + 1,)]
    assert corrections.waiting(settings) == []
    released = (
        "select released_by, corrected ->> 'race' from quarantine.encounters where _source_row = 4"
    )
    assert raw.query(settings, settings.clean_database, released) == [("a test", "Asian")]
