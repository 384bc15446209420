"""Files of many stays: reading and writing."""

import tracemalloc
from contextlib import suppress

import pytest

from readmit.intake.layout import COLUMNS
from serving import batch_formats, schema
from tests.support.form import fields
from ui import batch_file, form, language


def test_the_template_can_be_read_back_and_is_typed():
    upload = batch_file.read(batch_file.template(fields()).encode(), fields())
    assert upload.missing == ()
    expected = {
        "age_band": "[70-80)",
        "admission_type_id": 2,
        "n_procedures": 1,
        "is_changed": False,
    }
    assert batch_file.typed(next(upload.rows()).cells, fields()) == expected
    assert upload.n_rows == 1


def test_keys_for_late_labels_are_sent_and_other_columns_are_not():
    row = {"age_band": "x", "patient_nbr": "12", "encounter_id": "", "note": "hello"}
    assert batch_file.typed(row, fields()) == {"age_band": "x", "patient_nbr": 12}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"age_band#n_procedures\n[70-80)#1\n", "the first line names no column"),
        (b"PK\3\4", "it is no CSV (zip, Excel)"),
        (b"PAR1", "it is no CSV (Parquet)"),
        (b"<html>", "it is no CSV (HTML)"),
        (b"age_band,note,age_band\n", "more than one column is named age_band"),
        (b"a\n\xff\n", "byte 2 is not UTF-8"),
        (b'a\n"open', "line 2 breaks the rules for quotation marks"),
        (b"a\n" + b"1" * 70_000, "the row at line 2 has more than 65536 characters"),
        (b"a\n" + b'"1\n",' * 70_000, "the row at line"),
        (b"," * 600 + b"\n", "it has 601 columns; at most 500 are read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content, reason):
    with pytest.raises(batch_file.UnreadableFile) as caught:
        batch_file.read(content, fields())
    for code in language.CODES:
        text = language.load(code).text(caught.value.key, **caught.value.parameters)
        assert text.startswith(reason) or code != "en"


@pytest.mark.parametrize(
    "content",
    [
        b"age_band\n" + b"1\n" * 9_900_000,
        b"age_band\n" + b"," * 19_000_000,
        b"age_band\n" + b'"\n",' * 4_000_000,
        b"," * 19_000_000,
        b"age_band\n" + "🩺".encode() * 4_000_000,
        b"\n" * 19_000_000,
        b"age_band,x\n" + b",\n" * 1_000_000,  # a pointer kept for each is 8 MB
    ],
    ids=[
        "rows",
        "cells",
        "lines of a row",
        "columns",
        "wide characters",
        "empty lines",
        "no values",
    ],
)
def test_no_upload_takes_more_than_a_few_megabytes(content):
    """20 MB of short rows took 2 GB."""
    tracemalloc.start()
    try:
        with suppress(batch_file.UnreadableFile):
            upload = batch_file.read(content, fields())
            assert upload.is_too_long or upload.n_rows == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_as_many_rows_as_allowed_are_read_and_no_more():
    row = b"[70-80),1,1,true\n"
    header = b"age_band,admission_type_id,n_procedures,is_changed\n"
    upload = batch_file.read(header + row * batch_file.MAX_ROWS, fields())
    assert upload.n_rows == batch_file.MAX_ROWS
    assert not upload.is_too_long
    assert len(upload.preview) == 5
    assert batch_file.read(header + row * (batch_file.MAX_ROWS + 1), fields()).is_too_long


def test_missing_columns_are_named():
    upload = batch_file.read(b"age_band\nx\n", fields())
    assert upload.missing == ("admission_type_id", "n_procedures", "is_changed")


def test_names_may_have_another_case_and_separator_and_unread_columns_are_named():
    text = "index, Age Band ,ADMISSION_TYPE_ID,n.procedures,Is-Changed,Ward,\n0,x,1,2,true,B,\n"
    upload = batch_file.read(text.encode(), fields())
    assert upload.missing == ()
    row = next(upload.rows()).cells
    values = {"age_band": "x", "admission_type_id": 1, "n_procedures": 2, "is_changed": True}
    assert batch_file.typed(row, fields()) == values
    assert batch_file.unread_columns(list(row), fields()) == ["Ward"]


def test_a_scored_file_runs_no_formula():
    assert batch_file.write([{"a": "=1+1", "b": 0.5}]) == "a,b\n'=1+1,0.5\n"


def test_the_name_of_a_column_runs_no_formula():
    assert batch_file.write([{"=cmd()": 1, "b": 0.5}]) == "'=cmd(),b\n1,0.5\n"


@pytest.mark.parametrize(
    "text",
    [
        "1_000",
        "nan",
        "inf",
        "-Infinity",
        "\u0661\u0662",
        "0x10",
        "1e",
        "1e999",
        "1e3",
        "0.5",
        "9" * 500,
    ],
)
def test_a_cell_that_the_api_does_not_read_as_a_number_stays_text(text):
    """The form and the API's CSV give the same file the same verdict."""
    assert batch_file.typed({"n_procedures": text}, fields()) == {"n_procedures": text}


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-3", -3), ("+5", 5), ("5.0", 5), (" 7 ", 7), ("007", 7)]
)
def test_numbers_are_read(text, value):
    assert batch_file.typed({"n_procedures": text}, fields()) == {"n_procedures": value}


TABLE = "age_band,admission_type_id,n_procedures,is_changed\r\n[70-80),1,2,true\r\nx,1,2,\r\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("first_line", ["", "sep={}\r\n"])
def test_a_file_may_come_in_any_dialect(delimiter, encoding, first_line):
    text = first_line.format(delimiter) + TABLE.replace(",", delimiter)
    upload = batch_file.read(text.encode(encoding), fields())
    assert (upload.n_rows, upload.missing) == (2, ())
    assert upload.header_line == (2 if first_line else 1)
    expected = {
        "age_band": "[70-80)",
        "admission_type_id": 1,
        "n_procedures": 2,
        "is_changed": True,
    }
    assert batch_file.typed(next(upload.rows()).cells, fields()) == expected


def test_a_file_of_an_old_mac_is_read():
    upload = batch_file.read(TABLE.replace("\r\n", "\r").encode(), fields())
    assert (upload.n_rows, upload.missing) == (2, ())


def test_a_row_of_the_source_is_typed_as_the_contract_has_it(contract):
    """The real contract; the API reads such a row as the same values."""
    seeds = contract.seeds.__getitem__
    inputs = form.fields(contract.features, seeds, language.load("en"))
    row = dict.fromkeys(COLUMNS, "No") | {
        "encounter_id": "12",
        "patient_nbr": "7",
        "race": "?",
        "gender": "Unknown/Invalid",
        "age": "[70-80)",
        "diag_1": "8",
        "diag_2": "250.1",
        "diag_3": "V45",
        "change": "Ch",
        "time_in_hospital": "3.0",
        "readmitted": "NO",
    }
    content = ",".join(row) + "\n" + ",".join(row.values()) + "\n"
    upload = batch_file.read(content.encode(), inputs)
    assert upload.missing == ()
    values = batch_file.typed(next(upload.rows()).cells, inputs)
    assert values["race"] == values["gender"] == "unknown"
    assert (values["diagnosis_1"], values["diagnosis_2"]) == ("008", "250.10")
    assert (values["is_medication_changed"], values["length_of_stay_days"]) == (True, 3)
    assert (values["patient_nbr"], values["encounter_id"]) == (7, 12)
    assert "readmitted" not in values
    (from_csv,) = batch_formats.csv_rows(schema.build(contract), content.encode(), 10)
    assert from_csv == values
    without = content.replace("diag_2", "other")
    assert batch_file.read(without.encode(), inputs).missing == ("diag_2",)


def test_a_spanish_spreadsheet_opens_template_and_result_in_columns():
    text = batch_file.template(fields(), "es")
    assert text.startswith("\ufeffage_band;admission_type_id;")
    assert batch_file.read(text.encode(), fields()).missing == ()
    assert (
        batch_file.write([{"a": "x", "probability": 0.25}], code="es")
        == "\ufeffa;probability\nx;0,25\n"
    )
