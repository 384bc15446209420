"""An injected decay is found, none is found without it, and recalibration repairs a shift."""

import numpy as np
import pytest
from scipy.special import expit

from training import decay, model_metrics, rolling_origin
from training.model_metrics import Bootstrap

N = 24_000
CUTS = rolling_origin.cuts(N)


def replay(turn: float = 0.0, shift: float = 0.0) -> decay.Replay:
    """Return models that know the truth at their cut, in a world that turns or shifts with time.

    `turn` is the angle by which the signal turns from the first cut to the last stay; `shift` is
    added to the logit of the risk.
    """
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, 2))
    time = np.maximum(0, np.arange(N) / N - 0.5) * 2

    def logits(moment):
        signal = np.cos(turn * moment) * x[:, 0] + np.sin(turn * moment) * x[:, 1]
        return -1.5 + signal + shift * moment

    y = (rng.random(N) < expit(logits(time))).astype(float)
    matrix = np.full((len(CUTS), N), np.nan)
    for cut in CUTS:
        matrix[cut.number, cut.first :] = expit(logits(time[cut.first]))[cut.first :]
    samples = model_metrics.resampled(np.arange(N), Bootstrap(100, 1))
    return decay.Replay(y, matrix, CUTS, samples)


@pytest.fixture(scope="module")
def stable():
    return decay.measure(replay())


@pytest.fixture(scope="module")
def turning():
    return decay.measure(replay(turn=1.2))


def test_an_injected_decay_is_found(turning):
    assert 2 <= turning["first_age_with_loss"] <= 5
    oldest = turning["ages"][-1]
    assert oldest["age"] == 10
    assert oldest["n_slices"] == 1
    assert oldest["auroc_lost"]["low"] > 0.02
    assert oldest["brier_skill_lost"]["low"] > 0
    gains = [point["gain"]["low"] > 0 for point in turning["retraining"]]
    assert sum(gains) >= 7


def test_no_decay_is_found_where_there_is_none(stable):
    assert stable["first_age_with_loss"] is None
    for point in stable["ages"]:
        assert point["auroc_lost"]["figure"] == pytest.approx(0, abs=1e-12)
        assert abs(point["as_it_is"]["intercept"]) < 0.15


def test_recalibration_repairs_a_shift_but_no_ranking(turning):
    shifted = decay.measure(replay(shift=1.0))
    assert shifted["first_age_with_loss"] is None  # the order of patients stays
    oldest = shifted["ages"][-1]
    assert oldest["as_it_is"]["intercept"] > 0.7
    assert abs(oldest["recalibrated"]["intercept"]) < 0.25
    assert oldest["recalibrated"]["ece"] < oldest["as_it_is"]["ece"] / 3
    assert turning["ages"][-1]["recalibrated"]["slope"] > turning["ages"][-1]["as_it_is"]["slope"]


def test_a_model_of_age_one_is_the_retrained_one(turning):
    first = turning["ages"][0]
    assert first["auroc_lost"] == {"figure": 0, "low": 0, "high": 0}
    assert first["as_it_is"] == first["recalibrated"]
    assert [point["n_slices"] for point in turning["ages"]] == list(range(10, 0, -1))


def test_recalibration_never_looks_at_the_predicted_slice():
    original = replay(turn=0.5)
    pairs = original.pairs(3)
    last = CUTS[-1]
    changed = decay.Replay(original.y.copy(), original.matrix, CUTS, original.samples)
    changed.y[last.first :] = 1 - changed.y[last.first :]
    np.testing.assert_array_equal(original.recalibrated(pairs), changed.recalibrated(pairs))
