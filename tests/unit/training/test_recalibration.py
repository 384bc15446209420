"""The calibration line equals scikit-learn's logistic regression, and finds predictions that are bent."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training import recalibration

N = 4000


@pytest.fixture(scope="module")
def stays():
    rng = np.random.default_rng(1)
    risk = expit(rng.normal(-2, 0.8, N))
    return (rng.random(N) < risk).astype(float), risk


def test_line_equals_an_unpenalised_logistic_regression(stays):
    y, p = stays
    weights = np.random.default_rng(2).integers(0, 4, N).astype(float)
    x = recalibration.log_odds(p)
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
    model.fit(x[:, None], y, sample_weight=weights)
    line = recalibration.fit_line(y, x, weights)
    assert line.slope == pytest.approx(model.coef_[0, 0], abs=1e-4)
    assert line.intercept == pytest.approx(model.intercept_[0], abs=1e-4)


def test_bent_predictions_are_found_and_straightened(stays):
    y, p = stays
    bent = expit(0.7 + 2 * recalibration.log_odds(p))
    metrics = recalibration.statistics(y, bent)
    weights = np.ones(N)
    assert metrics["calibration_slope"](weights) == pytest.approx(0.5, abs=0.08)
    line = recalibration.fit_line(y, recalibration.log_odds(bent), weights)
    straight = recalibration.statistics(y, line.apply(bent))
    assert straight["calibration_slope"](weights) == pytest.approx(1, abs=1e-6)
    assert straight["calibration_intercept"](weights) == pytest.approx(0, abs=1e-6)


def test_intercept_says_that_all_predictions_are_too_low(stays):
    y, p = stays
    too_low = expit(recalibration.log_odds(p) - 0.5)
    metrics = recalibration.statistics(y, too_low)
    assert metrics["calibration_intercept"](np.ones(N)) == pytest.approx(0.5, abs=0.12)


def test_equal_predictions_have_no_slope():
    line = recalibration.fit_line(
        np.array([0.0, 1.0, 0.0]), recalibration.log_odds(np.full(3, 0.5)), np.ones(3)
    )
    assert np.isnan(line.slope)
    assert np.isfinite(recalibration.shift(np.array([0.0, 1.0]), np.zeros(2), np.ones(2)))


def test_certain_predictions_stay_finite():
    assert np.isfinite(recalibration.log_odds(np.array([0.0, 1.0]))).all()


def test_outcomes_that_a_limit_divides_have_no_line():
    p = np.linspace(0.1, 0.9, 40)
    y = (p > 0.5).astype(float)
    line = recalibration.fit_line(y, recalibration.log_odds(p), np.ones(40))
    assert np.isnan([line.intercept, line.slope]).all()


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_the_same_have_no_intercept(outcome):
    x = recalibration.log_odds(np.linspace(0.1, 0.9, 40))
    assert np.isnan(recalibration.shift(np.full(40, outcome), x, np.ones(40)))
