"""A threshold by capacity keeps its promise on later slices; LACE counts as published."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tests.support.training import make_rows
from training import call_list, lace, rolling_origin, ward_capacity
from training.model_metrics import Bootstrap
from training.rolling_protocol import Protocol
from training.score_store import ScoreStore

N = 12_000


@pytest.fixture(scope="module")
def protocol(contract, tmp_path_factory):
    rows = rolling_origin.in_order(make_rows(contract, N))
    store = ScoreStore(tmp_path_factory.mktemp("scores"))
    return Protocol(contract, rows, store, Bootstrap(200, 3), lambda text: None)


@pytest.fixture(scope="module")
def matrix(protocol):
    """Scores of models that know the risk, each a little differently."""
    rows = protocol.rows
    changed = rows["is_medication_changed"].astype(float).to_numpy()
    signal = -3 + 0.25 * rows["n_inpatient_visits"].to_numpy() + 0.8 * changed
    rng = np.random.default_rng(8)
    scores = np.full((len(protocol.cuts), N), np.nan)
    for cut in protocol.cuts:
        noise = rng.normal(0, 0.05, N)
        scores[cut.number, cut.first :] = expit(signal + noise)[cut.first :]
    return scores


@pytest.fixture(scope="module")
def by_capacity(protocol, matrix):
    return ward_capacity.by_capacity(protocol, matrix)


@pytest.mark.parametrize("share", ward_capacity.SHARES)
def test_the_threshold_keeps_its_promise_on_unseen_slices(by_capacity, share):
    point = next(row for row in by_capacity["operating_points"] if row["share"] == share)
    # The threshold is of one slice of 600 stays, so it has an error of its own.
    error = 3 * np.sqrt(share * (1 - share) / by_capacity["n_stays"] * 2)
    assert point["called"]["low"] - error <= share <= point["called"]["high"] + error
    assert len(point["thresholds"]) == 9


def test_thresholds_are_of_earlier_slices_only(protocol, matrix):
    scores = rolling_origin.newest(matrix, protocol.cuts)
    last = protocol.cuts[-1]
    changed = scores.copy()
    changed[last.first :] = np.random.default_rng(1).permutation(changed[last.first :]) / 2
    before, thresholds = ward_capacity.alerts(scores, protocol, 0.1)
    after, thresholds_after = ward_capacity.alerts(changed, protocol, 0.1)
    assert thresholds == thresholds_after
    np.testing.assert_array_equal(before[: last.first], after[: last.first])
    assert not before[: protocol.cuts[1].first].any()


def test_fewer_calls_find_fewer_readmissions_at_a_higher_yield(by_capacity):
    points = by_capacity["operating_points"]
    shares_found = [point["found"]["figure"] for point in points]
    assert shares_found == sorted(shares_found)
    assert points[0]["ppv"]["figure"] > points[-1]["ppv"]["figure"]
    for point in points:
        product = point["ppv"]["figure"] * point["calls_per_readmission"]["figure"]
        assert product == pytest.approx(1)
        assert point["found"]["figure"] > point["share"]


def test_net_benefit_equals_its_definition():
    y = np.array([1.0, 0, 0, 1, 0])
    is_called = np.array([True, True, False, False, False])
    weights = np.ones(5)
    # 1 hit and 1 false alarm of 5 stays, at odds of 1 to 4.
    assert ward_capacity.benefit(y, is_called, 0.2)(weights) == pytest.approx(1 / 5 - 0.25 / 5)
    assert ward_capacity.benefit(y, np.zeros(5, dtype=bool), 0.2)(weights) == 0


def test_a_model_that_knows_the_risk_beats_the_others(by_capacity):
    by_risk = {row["risk"]: row for row in by_capacity["net_benefit"]}
    assert by_risk[0.2]["model_over_best_other"]["low"] > 0
    everybody = [row["everybody"]["figure"] for row in by_capacity["net_benefit"]]
    assert everybody == sorted(everybody, reverse=True)


def stay(**values: object) -> pd.DataFrame:
    defaults = {
        "length_of_stay_days": 1,
        "admission_type_group": "elective",
        "n_emergency_visits": 0,
        "diagnosis_1": "unknown",
        "diagnosis_2": "unknown",
        "diagnosis_3": "unknown",
    }
    return pd.DataFrame([defaults | values])


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ({}, 1 + 0 + 1 + 0),  # a day, elective, diabetes, no emergency visit
        ({"length_of_stay_days": 3}, 3 + 1),
        ({"length_of_stay_days": 6}, 4 + 1),
        ({"length_of_stay_days": 13}, 5 + 1),
        ({"length_of_stay_days": 14}, 7 + 1),
        ({"admission_type_group": "emergency"}, 1 + 3 + 1),
        ({"n_emergency_visits": 9}, 1 + 1 + 4),
        ({"diagnosis_1": "428"}, 1 + 3),  # heart failure 2, diabetes 1
        ({"diagnosis_1": "250.60"}, 1 + 2),  # complicated diabetes replaces the milder form
        ({"diagnosis_1": "428", "diagnosis_2": "428"}, 1 + 3),  # a condition counts once
        ({"diagnosis_1": "410", "diagnosis_2": "428", "diagnosis_3": "496"}, 1 + 5),  # 6 points: 5
        ({"diagnosis_1": "197"}, 1 + 5),
    ],
)
def test_lace_counts_as_published(contract, values, points):
    assert lace.points(contract, stay(**values)).tolist() == [points]


@pytest.mark.parametrize(
    ("code", "condition"),
    [
        ("250.41", "diabetes with organ damage"),
        ("250.00", "diabetes without complications"),
        ("038", None),
        ("173", None),  # skin cancer other than melanoma does not count
        ("162", "tumour"),
        ("V57", None),
        ("unknown", None),
    ],
)
def test_a_code_means_a_condition(code, condition):
    assert lace.condition(code) == condition


@pytest.mark.parametrize("called", [[True, False], [False, False]])
def test_calls_that_find_nobody_have_no_number_of_calls_per_readmission(called):
    yields = call_list.yields(np.array([0.0, 1.0]), np.array(called))
    assert np.isnan(yields["calls_per_readmission"](np.ones(2)))
