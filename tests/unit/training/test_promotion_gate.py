"""The gate: better, equal, slightly worse, broken; each case with its decision."""

import numpy as np
import pytest

from training.model_metrics import Bootstrap
from training.promotion_gate import Rule, judge

RNG = np.random.default_rng(11)
N = 6000
SIGNAL = RNG.normal(size=N)
Y = (RNG.random(N) < 1 / (1 + np.exp(2.2 - SIGNAL))).astype(int)
PATIENTS = RNG.integers(0, 4000, N)
RULE = Rule(floor=0.6, margin=0.003, bootstrap=Bootstrap(300, 1))


def score(noise, seed=0):
    """Probabilities from the signal with some noise: more noise, worse ranking."""
    return 1 / (1 + np.exp(2.2 - SIGNAL - np.random.default_rng(seed).normal(scale=noise, size=N)))


def decide(challenger, production, has_newer=True, rule=RULE):
    return judge(Y, challenger, production, patients=PATIENTS, rule=rule, has_newer=has_newer)


def test_better_is_promoted():
    verdict = decide(score(0.3), score(1.5))
    assert verdict.promote
    assert verdict.gain_low > 0


def test_worse_is_kept():
    assert not decide(score(1.5), score(0.3)).promote


def test_equal_is_kept():
    same = score(0.5)
    verdict = decide(same, same.copy())
    assert not verdict.promote
    assert verdict.gain == 0


def test_not_worse_needs_newer_data():
    production = score(0.5)
    challenger = production + 1e-4 * SIGNAL
    challenger = np.clip(challenger, 0, 1)
    verdict = decide(challenger, production)
    assert verdict.gain > 0
    assert -RULE.margin < verdict.gain_low <= 0 or verdict.gain_low > 0
    newer = decide(challenger, production, True)
    same_data = decide(challenger, production, False)
    assert newer.promote
    assert same_data.promote == (same_data.gain_low > 0)


def test_slightly_worse_is_kept_even_with_newer_data():
    production = score(0.3)
    challenger = np.clip(production + RNG.normal(scale=0.01, size=N), 0, 1)
    verdict = decide(challenger, production)
    assert verdict.gain < 0
    assert not verdict.promote


def test_first_model_needs_the_floor():
    assert decide(score(0.3), None).promote
    refused = decide(RNG.random(N), None)
    assert not refused.promote
    assert "floor" in refused.reason


def test_the_floor_holds_against_a_worse_production_model():
    assert not decide(RNG.random(N) * 0.5, np.clip(1 - score(0.3), 0, 1)).promote


@pytest.mark.parametrize(
    "broken",
    [np.full(N, np.nan), score(0.3) * 2, score(0.3)[:-1], -score(0.3), np.full(N, np.inf)],
    ids=["nan", "above one", "one row short", "negative", "infinite"],
)
def test_a_score_that_is_not_a_probability_stops_the_gate(broken):
    with pytest.raises(ValueError, match="challenger gave scores"):
        decide(broken, score(0.3))
    with pytest.raises(ValueError, match="production gave scores"):
        decide(score(0.3), broken)


def test_the_same_evidence_gives_the_same_decision():
    assert decide(score(0.4), score(0.6)) == decide(score(0.4), score(0.6))
