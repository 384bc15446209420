"""The values that a what-if tries."""

from tests.support.form import fields
from ui import form, what_if


def test_what_if_offers_legal_values_and_marks_the_current_one():
    age, admission, procedures, flag = fields()
    assert what_if.alternatives(age, "unknown") == (["[0-10)", "[70-80)", "unknown"], 2)
    assert what_if.alternatives(admission, 1) == ([1, 2], 0)
    assert what_if.alternatives(procedures, 4) == ([0, 1, 2, 3, 4, 5, 6], 4)
    assert what_if.alternatives(flag, True) == ([False, True], 1)


def test_what_if_keeps_long_lists_readable():
    codes = tuple(str(code) for code in range(900))
    feature = fields()[0].feature
    field = form.Field("d", "category", "D", "", "G", "5", feature, options=codes, captions=codes)
    values, current = what_if.alternatives(field, "600")
    assert len(values) == what_if.MAX_VALUES
    assert values[current] == "600"
    wide = form.Field("n", "number", "N", "", "G", 5, feature, low=0, high=132)
    values, current = what_if.alternatives(wide, 44)
    assert values[current] == 44
    assert values == sorted(values)
    assert len(values) <= what_if.MAX_VALUES + 1
