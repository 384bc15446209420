"""The threshold for N of 100 calls keeps its promise on stays that it was not chosen on."""

import json

import numpy as np
import pytest

from training import call_list
from training.model_metrics import Bootstrap, estimate, resampled

N = 20_000
BOOTSTRAP = Bootstrap(200, 4)


@pytest.fixture(scope="module")
def stays():
    rng = np.random.default_rng(3)
    p = rng.beta(1.2, 9, N)
    y = rng.uniform(size=N) < p
    patients = np.repeat(np.arange(N // 2), 2)
    return y, p, patients


@pytest.fixture(scope="module")
def points(stays):
    y, p, patients = stays
    half = slice(0, N // 2)
    return call_list.points(y[half], p[half], patients[half], BOOTSTRAP)


def test_every_number_of_calls_has_its_threshold(points):
    assert [point["calls_per_100"] for point in points] == list(range(1, call_list.MOST_CALLS + 1))
    thresholds = [point["threshold"] for point in points]
    assert thresholds == sorted(thresholds, reverse=True)
    json.dumps(points, allow_nan=False)


def test_the_promise_holds_on_unseen_stays(stays, points):
    y, p, _ = stays
    unseen = slice(N // 2, N)
    n_outside = 0
    for point in points:
        is_called = p[unseen] >= point["threshold"]
        # Both halves have an error of their own, so the interval is doubled.
        for name, figure in (
            ("called", is_called.mean()),
            ("readmissions_found", y[unseen][is_called].sum() / y[unseen].sum()),
            ("calls_per_readmission", is_called.sum() / y[unseen][is_called].sum()),
        ):
            promised = point[name]
            width = promised["high"] - promised["low"]
            n_outside += abs(figure - promised["figure"]) > width
    assert n_outside == 0


def test_more_calls_find_more_and_each_costs_more_calls(points):
    shares_found = [point["readmissions_found"]["figure"] for point in points]
    assert shares_found == sorted(shares_found)
    calls = [point["calls_per_readmission"]["figure"] for point in points]
    assert calls[4] < calls[19] < calls[49]


def test_products_of_matrices_give_the_figures_of_passes_over_the_rows(stays, points):
    y, p, patients = (values[: N // 2] for values in stays)
    samples = resampled(patients, BOOTSTRAP)
    for point in points[::7]:
        brought = call_list.yields(y.astype(float), p >= point["threshold"])
        for name, statistic in (
            ("called", "called"),
            ("readmissions_found", "found"),
            ("calls_per_readmission", "calls_per_readmission"),
        ):
            assert point[name] == estimate(brought[statistic], samples)


def test_where_no_readmission_is_found_there_is_no_number_of_calls():
    y = np.array([1.0, *np.zeros(99)])
    p = np.linspace(0.1, 0.9, 100)
    points = call_list.points(y, p, np.arange(100), BOOTSTRAP)
    assert points[9]["calls_per_readmission"] is None
    assert points[9]["called"]["figure"] == pytest.approx(0.1, abs=0.011)
