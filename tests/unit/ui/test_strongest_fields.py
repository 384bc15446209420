"""The fields that would move a score most."""

from tests.support.form import fields
from ui import strongest_fields


def test_other_values_are_legal_ones_and_of_numbers_no_rare_ones():
    age, admission, procedures, changed = fields()
    assert strongest_fields.other_values(age, "[70-80)") == ["[0-10)", "unknown"]
    assert strongest_fields.other_values(admission, 2) == [1]
    assert strongest_fields.other_values(procedures, 1) == [0, 5]
    assert strongest_fields.other_values(changed, False) == [True]


def test_the_strongest_change_of_each_field_comes_first():
    sent = {field.name: field.default for field in fields()}
    changes = strongest_fields.variations(fields(), sent)
    names = [field.name for field, _ in changes]
    assert names == ["age_band"] * 2 + ["admission_type_id"] + ["n_procedures"] * 2 + ["is_changed"]
    scores = [0.2, 0.05, 0.1, 0.11, 0.4, 0.12]
    strongest = strongest_fields.strongest(changes, scores, 0.1)
    shown = [(change.field.name, change.value, change.probability) for change in strongest]
    assert shown == [
        ("n_procedures", 5, 0.4),
        ("age_band", "[0-10)", 0.2),
        ("is_changed", True, 0.12),
    ]
