"""Groups: intervals hold together, a group with wrong predictions is found, and a uniform one is explained."""

import numpy as np
import pytest
from scipy.special import expit, logit

from tests.support.training import make_rows
from training import rolling_origin, subgroups
from training.model_metrics import Bootstrap
from training.rolling_protocol import Protocol
from training.score_store import ScoreStore

N = 9000


@pytest.fixture(scope="module")
def protocol(contract, tmp_path_factory):
    rows = rolling_origin.in_order(make_rows(contract, N, seed=2))
    store = ScoreStore(tmp_path_factory.mktemp("scores"))
    return Protocol(contract, rows, store, Bootstrap(100, 3), lambda text: None)


def matrix(protocol, change):
    """Return scores that know the risk, changed for some stays."""
    rows = protocol.rows
    changed = rows["is_medication_changed"].astype(float).to_numpy()
    risk = expit(-3 + 0.25 * rows["n_inpatient_visits"].to_numpy() + 0.8 * changed)
    scores = np.full((len(protocol.cuts), N), np.nan)
    for cut in protocol.cuts:
        scores[cut.number, cut.first :] = change(rows, risk)[cut.first :]
    return scores


@pytest.fixture(scope="module")
def right(protocol):
    return subgroups.judge(protocol, matrix(protocol, lambda rows, risk: risk))


def test_no_group_of_a_model_that_is_right_is_blamed(right):
    groups = right["groups"]
    assert len(groups) > 20
    assert right["z"] > 3
    for group in groups:
        assert not group["is_miscalibrated"], group["name"]
        assert not group["falls_behind"], group["name"]
        assert group["n"] >= subgroups.MIN_ROWS
        assert group["auroc"]["low"] < group["expected_auroc"] < group["auroc"]["high"]


def test_a_group_with_wrong_predictions_is_found(protocol):
    def change(rows, risk):
        is_female = (rows["gender"] == "Female").to_numpy()
        return np.where(is_female, expit(logit(risk) - 1), risk)

    judged = subgroups.judge(protocol, matrix(protocol, change))
    by_name = {group["name"]: group for group in judged["groups"]}
    assert by_name["gender=Female"]["is_miscalibrated"]
    assert by_name["gender=Female"]["calibration_intercept"]["figure"] == pytest.approx(1, abs=0.3)
    assert not by_name["gender=Male"]["is_miscalibrated"]


def test_pairs_name_two_columns(right):
    pairs = [group["name"] for group in right["groups"] if "&" in group["name"]]
    assert pairs
    for name in pairs:
        first, second = name.split(" & ")
        assert first.split("=")[0] != second.split("=")[0]


def test_equal_risks_are_expected_to_be_chance():
    assert subgroups.expected_auroc(np.full(50, 0.2)) == pytest.approx(0.5)
    assert subgroups.expected_auroc(np.array([0.0, 1.0])) == 1
