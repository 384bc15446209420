"""Rolling origin never looks ahead: it trains on earlier ids only, and the future changes nothing before it."""

import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from tests.support.training import make_rows
from training import features, rolling_origin


class Recorder(ClassifierMixin, BaseEstimator):
    """A model of the rate by `n_inpatient_visits`, which remembers the rows that it was fitted on."""

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        self.index_ = x.index
        self.rates_ = pd.Series(y).groupby(x["n_inpatient_visits"].to_numpy()).mean()
        return self

    def predict_proba(self, x):
        p = x["n_inpatient_visits"].map(self.rates_).fillna(0.1).to_numpy()
        return np.column_stack([1 - p, p])


@pytest.fixture(scope="module")
def rows(contract):
    return rolling_origin.in_order(make_rows(contract, 900))


@given(st.integers(20, 3000), st.integers(1, 10))
def test_slices_cover_the_last_half_once(n_rows, n_cuts):
    planned = rolling_origin.cuts(n_rows, n_cuts)
    assert [cut.number for cut in planned] == list(range(n_cuts))
    assert planned[0].first == round(n_rows / 2)
    assert planned[-1].end == n_rows
    for cut, next_cut in itertools.pairwise(planned):
        assert cut.end == next_cut.first
    sizes = [cut.end - cut.first for cut in planned]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1


def test_no_model_trains_on_a_later_id(contract, rows):
    for cut in rolling_origin.cuts(len(rows)):
        model = Recorder()
        make = partial(Pipeline, [("model", model)])
        scores = rolling_origin.score_later(make, contract, rows, cut)
        trained = rows.loc[model.index_, "encounter_id"]
        scored = rows.loc[np.isfinite(scores), "encounter_id"]
        assert len(trained) == cut.first
        assert trained.max() < scored.min()
        assert len(trained) + len(scored) == len(rows)


@pytest.mark.parametrize("number", [0, 4, 8])
def test_a_shuffled_future_changes_nothing_before_it(contract, rows, number):
    planned = rolling_origin.cuts(len(rows))
    cut = planned[number]
    rng = np.random.default_rng(number)
    shuffled = rows.copy()
    order = rng.permutation(np.arange(cut.end, len(rows)))
    values = rows.columns.drop("encounter_id")
    shuffled.loc[shuffled.index[cut.end :], values] = rows.loc[order, values].to_numpy()
    shuffled = shuffled.astype(rows.dtypes)
    assert (shuffled[contract.label.name] != rows[contract.label.name]).any()

    def make():
        return Pipeline([("model", Recorder())])

    before = rolling_origin.score_later(make, contract, rows, cut)
    after = rolling_origin.score_later(make, contract, shuffled, cut)
    np.testing.assert_array_equal(before[: cut.end], after[: cut.end])
    is_returning = rolling_origin.returning(rows["patient_nbr"].to_numpy(), planned)
    is_returning_after = rolling_origin.returning(shuffled["patient_nbr"].to_numpy(), planned)
    np.testing.assert_array_equal(is_returning[: cut.end], is_returning_after[: cut.end])


def test_rows_are_ordered_by_the_clock_however_they_come(contract, rows):
    shuffled = rows.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(rolling_origin.in_order(shuffled), rows)
    assert features.columns(contract)[0] in rows


def test_each_row_has_the_score_of_the_newest_model_before_it():
    planned = rolling_origin.cuts(40)
    matrix = np.full((10, 40), np.nan)
    for cut in planned:
        matrix[cut.number, cut.first :] = cut.number
    scores = rolling_origin.newest(matrix, planned)
    assert np.isnan(scores[:20]).all()
    assert scores[20:].tolist() == np.repeat(range(10), 2).tolist()


def test_returning_patients_have_a_row_before_the_cut_of_their_slice():
    patients = np.array([1, 2, 3, 4, 5, 5, 1, 6, 6, 5])
    planned = rolling_origin.cuts(10, 2)  # slices 5..7 and 7..10, rounded to even
    expected = [False] * 5 + [True, True, False, False, True]
    assert [cut.first for cut in planned] == [5, 8]
    assert rolling_origin.returning(patients, planned).tolist() == [
        *expected[:8],
        patients[8] in patients[:8],
        True,
    ]
