"""Figures: equal to sklearn's, intervals that cover, slices and thresholds that mean what they
say.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training import decision, model_metrics
from training.decision import Costs
from training.evaluation import prefixes
from training.model_metrics import Bootstrap, Ranking

RNG = np.random.default_rng(7)
N = 3000
RISK = np.round(RNG.beta(1, 8, N), 3)  # rounded: ties
Y = (RNG.random(N) < RISK).astype(int)
PATIENTS = RNG.integers(0, N // 2, N)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_ranking_is_sklearns(seed):
    weights = np.random.default_rng(seed).integers(0, 4, N).astype(float)
    ranking = Ranking(Y, RISK)
    assert ranking.auroc(weights) == pytest.approx(
        roc_auc_score(Y, RISK, sample_weight=weights), abs=1e-12
    )
    expected = average_precision_score(Y, RISK, sample_weight=weights)
    assert ranking.average_precision(weights) == pytest.approx(expected, abs=1e-12)


def test_all_rows_of_a_patient_are_resampled_together():
    for weights in model_metrics.resampled(PATIENTS, Bootstrap(20, 1)):
        assert pd.Series(weights).groupby(PATIENTS).nunique().max() == 1
        assert pd.Series(weights).groupby(PATIENTS).first().sum() == len(set(PATIENTS))


def test_intervals_hold_their_figure_and_narrow_with_rows():
    whole = model_metrics.with_intervals(Y, RISK, PATIENTS, Bootstrap(200, 1))
    part = model_metrics.with_intervals(Y[:600], RISK[:600], PATIENTS[:600], Bootstrap(200, 1))
    for name, estimate in whole.items():
        if name != "ece":  # biased upwards in resamples, as every mean of distances is
            assert estimate["low"] <= estimate["figure"] <= estimate["high"], name
    assert (
        whole["auroc"]["high"] - whole["auroc"]["low"]
        < part["auroc"]["high"] - part["auroc"]["low"]
    )


def test_calibration_error_grows_with_wrong_risks():
    assert model_metrics.expected_calibration_error(Y, RISK) < 0.02
    assert model_metrics.expected_calibration_error(Y, np.clip(RISK + 0.2, 0, 1)) > 0.15


def test_skill_is_zero_for_the_prevalence():
    metrics = model_metrics.point_metrics(Y, np.full(N, Y.mean()))
    assert metrics["brier_skill"] == pytest.approx(0, abs=1e-12)
    assert metrics["auroc"] == 0.5


def test_threshold_of_calibrated_risks_is_near_break_even():
    costs = Costs(follow_up=100, readmission=10_000, effect=0.1)
    rng = np.random.default_rng(3)
    p = rng.beta(1, 8, 60_000)
    y = rng.random(60_000) < p
    chosen = decision.choose_threshold(y, p, costs)
    assert chosen == pytest.approx(costs.break_even, abs=0.04)
    assert costs.saved(y, p >= chosen) >= costs.saved(y, p >= 0)


def test_operating_point_counts():
    y = np.array([1, 1, 0, 0, 0])
    p = np.array([0.9, 0.2, 0.8, 0.1, 0.1])
    point = decision.operating_point(y, p, 0.5, Costs(1, 10, 0.5))
    assert point["alert_rate"] == 0.4
    assert point["sensitivity"] == 0.5
    assert point["ppv"] == 0.5
    assert point["specificity"] == pytest.approx(2 / 3)
    assert point["saved_per_stay"] == pytest.approx((5 - 2) / 5)


def test_decision_curve_never_below_nobody_for_a_perfect_model():
    for row in decision.decision_curve(Y, Y.astype(float)):
        assert row["net_benefit"] == pytest.approx(Y.mean())
        assert row["net_benefit"] >= row["call_everybody"]


def test_a_slice_that_falls_behind_is_named():
    frame = pd.DataFrame(
        {
            "race": np.where(np.arange(N) % 2, "one", "other"),
            "gender": "Female",
            "age_band": "[50-60)",
        }
    )
    frame["n_prior_stays"] = 0
    frame["patient_nbr"] = np.arange(N)
    p = np.where(frame["race"] == "one", RISK, RNG.permutation(RISK))
    y = (RNG.random(N) < RISK).astype(int)
    slices = {
        (row["slice"], row["value"]): row for row in decision.slices(frame, y, p, Bootstrap(200, 1))
    }
    assert slices["race", "other"]["falls_behind"]
    assert not slices["race", "one"]["falls_behind"]


@pytest.mark.parametrize(
    ("n", "expected"), [(1, []), (2, [1]), (5, [1, 2, 3]), (100, [20, 40, 60])]
)
def test_a_learning_curve_costs_the_same_however_many_batches(n, expected):
    assert prefixes(n) == expected


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_outcome_only_has_no_figures(outcome):
    y = np.full(50, outcome)
    p = np.linspace(0, 1, 50)
    with pytest.raises(ValueError, match="both outcomes"):
        model_metrics.with_intervals(y, p, np.arange(50), model_metrics.Bootstrap(100, 1))
