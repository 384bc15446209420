"""The features that drive a score, in the contract's words."""

from tests.support.form import fields
from ui import explanation, language


def test_the_strongest_contribution_comes_first_in_the_words_of_the_contract():
    explained = {
        "contributions": [
            {"feature": "age_band", "value": "[0-10)", "contribution": -0.2},
            {"feature": "n_drugs", "value": 3, "contribution": 0.5},
            {"feature": "is_changed", "value": False, "contribution": 0.0},
        ]
    }
    assert explanation.contributions(explained, fields(), language.load("en")) == [
        explanation.Contribution("N drugs", "3", 0.5),
        explanation.Contribution("Age", "0-9", -0.2),
    ]


def test_a_history_that_the_key_may_not_see_is_one_line_without_a_value():
    explained = {"contributions": [{"feature": "history", "value": None, "contribution": 0.7}]}
    (shown,) = explanation.contributions(explained, fields(), language.load("en"))
    assert (shown.value, shown.effect) == ("-", 0.7)
