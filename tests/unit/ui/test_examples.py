"""Example patients, chosen by their score."""

import pytest

from tests.support.form import fields
from ui import examples


def test_variations_are_legal_and_always_the_same():
    rows = examples.variations(fields(), 40)
    assert rows == examples.variations(fields(), 40)
    for row in rows:
        assert row["age_band"] in fields()[0].options
        assert 0 <= row["n_procedures"] <= 6


def test_examples_are_picked_by_the_score_of_the_model():
    rows = [{"n": index} for index in range(101)]
    scores = [index / 100 for index in range(101)]
    picked = examples.pick(rows, scores)
    assert picked == {"low": {"n": 5}, "medium": {"n": 50}, "high": {"n": 98}}
    assert examples.pick([], []) == {}


def test_scores_that_are_missing_are_an_error():
    with pytest.raises(examples.IncompleteAnswer, match="2 rows were sent, 1 scores"):
        examples.probabilities({"predictions": [{"probability": 0.1}, None]}, 2)
