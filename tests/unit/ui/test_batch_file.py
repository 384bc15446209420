"""Files of many stays: what is read, and what is written."""

import pytest

from tests.support.form import fields
from ui import batch_file, language


def test_the_template_can_be_read_back_and_is_typed():
    upload = batch_file.read(batch_file.template(fields()).encode(), fields())
    assert upload.missing == ()
    expected = {
        "age_band": "[70-80)",
        "admission_type_id": 2,
        "n_procedures": 1,
        "is_changed": False,
    }
    assert batch_file.typed(upload.rows[0], fields()) == expected


def test_keys_for_late_labels_are_sent_and_other_columns_are_not():
    row = {"age_band": "x", "patient_nbr": "12", "encounter_id": "", "note": "hello"}
    assert batch_file.typed(row, fields()) == {"age_band": "x", "patient_nbr": 12}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"age_band;n_procedures\n[70-80);1\n", "the first line names no column"),
        (b"a,b\n1,2,3\n", "line 2 has 3 fields, the header has 2"),
        (b"a\n\xff\n", "byte 2 is not UTF-8"),
        (b'a\n"open', "line 2 breaks the rules for quotation marks"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content, reason):
    with pytest.raises(batch_file.UnreadableFile) as caught:
        batch_file.read(content, fields())
    for code in language.CODES:
        text = language.load(code).text(caught.value.key, **caught.value.parameters)
        assert text.startswith(reason) or code != "en"


def test_missing_columns_are_named():
    upload = batch_file.read(b"age_band\nx\n", fields())
    assert upload.missing == ("admission_type_id", "n_procedures", "is_changed")


def test_a_scored_file_runs_no_formula():
    assert batch_file.write([{"a": "=1+1", "b": 0.5}]) == "a,b\n'=1+1,0.5\n"
