"""Numbers in plain words."""

from datetime import UTC, datetime

import pytest

from ui import language, wording

ENGLISH = language.load("en")
SPANISH = language.load("es")


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.0, "Fewer than 1 in 200"),
        (0.112, "1 in 9"),
        (0.3, "1 in 3"),
        (0.35, "4 in 10"),
        (0.94, "9 in 10"),
        (0.99, "More than 19 in 20"),
    ],
)
def test_a_probability_is_put_as_a_natural_frequency(probability, words):
    assert words in wording.in_plain_words(probability, ENGLISH)


def test_the_words_never_stray_far_from_the_number():
    for permille in range(1001):
        probability = permille / 1000
        words = wording.in_plain_words(probability, ENGLISH).split()
        part, whole = [int(word) for word in words if word.isdigit()][:2]
        assert abs(part / whole - probability) <= 0.051, probability


def test_threshold_and_history_in_words():
    at_threshold = {"probability": 0.2, "threshold": 0.2}
    below = {"probability": 0.19, "threshold": 0.2}
    assert "At or above" in wording.against_threshold(at_threshold, ENGLISH)
    assert "Below" in wording.against_threshold(below, ENGLISH)
    assert wording.history("looked_up", ENGLISH) == ENGLISH.text("history_looked_up")
    assert wording.history("unavailable", ENGLISH) == ENGLISH.text("history_unavailable")
    assert wording.history("assumed_first_stay", ENGLISH) == ENGLISH.text("history_first_stay")
    assert wording.band("very_high", ENGLISH) == "very_high"


def test_a_score_never_looks_like_a_threshold_that_it_does_not_reach():
    """A score of 13.2 % was called "Low risk" beside a threshold of 13.2 %."""
    near = {"probability": 0.131_82, "threshold": 0.132_41, "risk": "low"}
    assert wording.decimals_of(near) == 2
    assert wording.against_threshold(near, ENGLISH) == "Below the threshold of 13.24 %."
    assert wording.band_and_threshold(near, ENGLISH) == "Low risk (< 13.24 %)"


def test_a_score_looks_like_neither_threshold():
    band = {"calls_per_100": 10, "threshold": 0.131_824, "risk": "low"}
    near = {"probability": 0.131_82, "threshold": 0.132_41, "risk": "low", "capacity": band}
    assert wording.percent(near["probability"], wording.decimals_of(near)) == "13.1820 %"
    assert "13.1824 %" in wording.by_capacity(near, ENGLISH)


def test_a_score_at_its_threshold_needs_no_more_decimals():
    assert wording.decimals_of({"probability": 0.132_04, "threshold": 0.132_04}) == 1
    assert wording.decimals_of({"probability": 0.5, "threshold": 0.132}) == 1
    assert wording.decimals_apart(0.1, [0.1 + 1e-15]) == wording.MAX_DECIMALS


@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_whether_a_ward_calls_the_patient_is_said_in_words(language):
    band = {"calls_per_100": 10, "threshold": 0.213, "risk": "high"}
    answer = {"probability": 0.3, "threshold": 0.132, "capacity": band}
    called = wording.by_capacity(answer, language)
    assert "10" in called
    assert "21.3 %" in called
    not_called = {**answer, "capacity": {**band, "risk": "low"}}
    assert wording.by_capacity(not_called, language) not in ("", called)
    # A model that was registered without it.
    assert wording.by_capacity({**answer, "capacity": None}, language) == ""


def test_thousands_stand_apart_as_the_language_has_it():
    assert wording.whole(99_343, ENGLISH) == "99,343"
    assert wording.whole(99_343, SPANISH) == "99\N{NO-BREAK SPACE}343"


def test_age_of_data():
    now = datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert wording.age("2026-01-03T11:30:00+00:00", ENGLISH, now) == "30 min ago"
    assert wording.age("2026-01-03T02:00:00", ENGLISH, now) == "10 h ago"
    assert wording.age("2026-01-01T11:00:00Z", ENGLISH, now) == "2 days ago"
    assert wording.age(None, ENGLISH, now) == "-"


def test_a_risk_is_compared_with_that_of_the_average_patient():
    english = language.load("en")
    text = wording.against_average(0.06, 0.109, english)
    assert text == "Average patient: 10.9 %. The risk of this one is 0.6 times that."
    assert wording.against_average(0.11, 0.109, english).endswith("about the same.")
