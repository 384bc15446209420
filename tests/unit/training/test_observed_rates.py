"""The rate of patients with such a score: every stay is in one bin, and the intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import binomtest

from training import observed_rates

N = 12_000


@pytest.fixture(scope="module")
def stays():
    rng = np.random.default_rng(6)
    p = rng.beta(1.2, 9, N)
    return rng.uniform(size=N) < p, p


def test_every_stay_is_in_one_bin_and_the_top_is_divided_once_more(stays):
    y, p = stays
    bins = observed_rates.score_bins(y, p)
    assert len(bins) == observed_rates.MAX_BINS + 1
    assert sum(row["n"] for row in bins) == N
    lowest = [row["lowest"] for row in bins]
    assert lowest == sorted(lowest)
    assert lowest[0] == 0
    total = sum(row["n"] * row["figure"] for row in bins)
    assert total == pytest.approx(y.sum())


def test_the_intervals_hold_the_true_rate(stays):
    y, p = stays
    bins = observed_rates.score_bins(y, p)
    edges = [*[row["lowest"] for row in bins], 1.1]
    n_missed = 0
    for row, begin, end in zip(bins, edges[:-1], edges[1:], strict=True):
        true_rate = p[(p >= begin) & (p < end)].mean()
        n_missed += not row["low"] <= true_rate <= row["high"]
    assert n_missed <= 4  # of 21; more happen once in 300 times


@pytest.mark.parametrize("p", [[0.1] * 300, [0.1, 0.2], list(np.linspace(0, 1, 401))])
def test_few_stays_and_ties_leave_no_bin_empty(p):
    bins = observed_rates.score_bins(np.arange(len(p)) % 2, p)
    assert sum(row["n"] for row in bins) == len(p)
    assert all(0 <= row["low"] <= row["figure"] <= row["high"] <= 1 for row in bins)


@pytest.mark.parametrize(("n_cases", "n"), [(0, 10), (10, 10), (3, 200), (744, 5000)])
def test_the_interval_is_wilsons(n_cases, n):
    expected = binomtest(n_cases, n).proportion_ci(method="wilson")
    low, high = observed_rates.interval(n_cases / n, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
