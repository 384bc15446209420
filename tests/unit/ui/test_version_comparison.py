"""Two versions side by side."""

from ui import language, version_comparison

ENGLISH = language.load("en")


def answer(alias, version, **score):
    return {"alias": alias, "model": {"version": version}, "threshold": 0.132, **score}


NOW = answer("production", "3", probability=0.25, risk="high")


def test_two_versions_stand_side_by_side():
    before = answer("previous", "2", probability=0.22, risk="high")
    assert version_comparison.side_by_side([NOW, before], ENGLISH) == {
        "In service, version 3": "25.0 % · High risk (≥ 13.2 %)",
        "Previous, version 2": "22.0 % · High risk (≥ 13.2 %)",
    }


def test_one_score_in_two_bands_is_explained_by_the_thresholds():
    now = answer("production", "3", probability=0.1321, risk="high")
    before = answer("previous", "2", probability=0.1321, risk="low", threshold=0.1324)
    assert list(version_comparison.side_by_side([now, before], ENGLISH).values()) == [
        "13.21 % · High risk (≥ 13.20 %)",
        "13.21 % · Low risk (< 13.24 %)",
    ]


def test_their_difference_is_put_in_words():
    same_band = answer("previous", "2", probability=0.22, risk="high")
    other_band = answer("previous", "2", probability=0.1, risk="low")
    same_score = answer("previous", "2", probability=0.2499, risk="high")
    assert "+3.0" in version_comparison.difference([NOW, same_band], ENGLISH)
    for other, key in (
        (same_band, "compare_agree"),
        (other_band, "compare_disagree"),
        (same_score, "compare_same"),
    ):
        assert ENGLISH.text(key) in version_comparison.difference([NOW, other], ENGLISH)


def test_a_version_that_cannot_score_the_stay_says_so():
    unmapped = answer("previous", "1", detail="cannot be mapped")
    shown = version_comparison.side_by_side([NOW, unmapped], ENGLISH)
    assert shown["Previous, version 1"] == "-"
    assert "Version 1" in version_comparison.difference([NOW, unmapped], ENGLISH)
