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


@pytest.mark.parametrize("language", [ENGLISH, SPANISH])
def test_whether_a_ward_calls_the_patient_is_said_in_words(language):
    band = {"calls_per_100": 10, "threshold": 0.213, "risk": "high"}
    called = wording.by_capacity(band, language)
    assert "10" in called
    assert "21.3 %" in called
    assert wording.by_capacity({**band, "risk": "low"}, language) not in ("", called)
    assert wording.by_capacity(None, language) == ""  # a model that was registered without it


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
