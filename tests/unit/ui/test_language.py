"""The words of the form: both languages have the same, and the code uses all of them."""

import re
from pathlib import Path
from string import Formatter

import pytest

from training import model_metrics
from ui import language, page_tables, scoring

UI = Path(language.__file__).parent
ENGLISH = language.load("en")
SPANISH = language.load("es")
KEYS_IN_CODE = re.compile(r"""(?:\.text|_link|in_english|UnreadableFile)\(\s*["'](\w+)""")


def placeholders(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def used_keys():
    code = "".join(path.read_text() for path in UI.rglob("*.py"))
    return {*KEYS_IN_CODE.findall(code), "defaulted", "ignored"}  # the two of `show_mapping`


@pytest.mark.parametrize("table", ["texts", "problems", "field_errors", "columns", "units"])
def test_both_languages_have_the_same_keys_and_placeholders(table):
    english = getattr(ENGLISH, table)
    spanish = getattr(SPANISH, table)
    assert set(english) == set(spanish)
    for key, text in english.items():
        assert text, key
        assert spanish[key], key
        assert placeholders(text) == placeholders(spanish[key]), key


def test_both_languages_name_the_same_metrics_and_values():
    assert set(ENGLISH.metrics) == set(SPANISH.metrics)
    assert set(ENGLISH.values) <= set(SPANISH.values)


def test_the_code_uses_every_text_and_no_other():
    assert used_keys() == set(ENGLISH.texts)


def test_every_metric_and_column_that_is_shown_has_a_plain_name():
    computed = model_metrics.point_metrics([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3])
    columns = {
        *page_tables.PROMOTION_COLUMNS,
        *page_tables.LEDGER_COLUMNS,
        *page_tables.QUARANTINE_COLUMNS,
        *scoring.Outcome().cells(),
    }
    for words in (ENGLISH, SPANISH):
        assert {*computed, *page_tables.REALISED} <= set(words.metrics)
        assert columns <= set(words.columns)


def test_spanish_texts_hold_no_english_connecting_words():
    texts = [*SPANISH.texts.values(), *SPANISH.problems.values(), *SPANISH.field_errors.values()]
    words = set(" ".join(texts).lower().split())
    assert not words & {"to", "the", "of", "and", "with", "for", "is", "at", "by"}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("[70-80)", "70-79"),
        ("AfricanAmerican", "African American"),
        ("AllergyandImmunology", "Allergy and Immunology"),
        ("PlasticwithinHeadandNeck", "Plastic within Head and Neck"),
        ("DCPTEAM", "DCPTEAM"),
        (True, "Yes"),
        ("Norm", "Normal"),
    ],
)
def test_values_are_shown_in_plain_words(raw, shown):
    assert ENGLISH.value(raw) == shown


def test_a_description_of_several_parts_is_translated_part_by_part():
    described = "Diabetes with ketoacidosis, type I, uncontrolled"
    assert ENGLISH.value(described) == described
    assert SPANISH.value(described) == "Diabetes con cetoacidosis, tipo I, no controlada"


def test_a_value_without_words_is_shown_as_it_is():
    assert SPANISH.value("A code of tomorrow") == "A code of tomorrow"
    assert SPANISH.metric("a_metric_of_tomorrow") == "A metric of tomorrow"
    assert SPANISH.metric_meaning("a_metric_of_tomorrow") == ""
    assert SPANISH.problem("a_code_of_tomorrow", {}) is None
    assert SPANISH.field_error("a_code_of_tomorrow", {}) is None
