"""`make quality`: both protocols in one document, and a stopped measurement continues."""

import json

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tests.support.training import make_rows
from training import baselines, candidates, quality, score_store
from training.training_settings import MonitorSettings

N_FITS = 5 + 1 + 10 + 10  # folds, sealed test, cuts of all patients and of those not sealed


@pytest.fixture(scope="module")
def mart(contract):
    return quality.Mart(contract, make_rows(contract, 1500), "a fingerprint")


@pytest.fixture(scope="module")
def measured(mart, tmp_path_factory):
    """Measure twice with a small model; return both documents and the number of fits of each."""
    fits = []

    class Counted(LogisticRegression):
        def fit(self, *arguments):
            fits.append(1)
            return super().fit(*arguments)

    def small(contract, seed, threads):
        numbers = ColumnTransformer([("numbers", "passthrough", ["n_inpatient_visits"])])
        return Pipeline([("numbers", numbers), ("model", Counted())])

    home = tmp_path_factory.mktemp("quality")
    settings = MonitorSettings(readmit_home=home, bootstrap_replicates=100)
    documents = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(candidates.CANDIDATES, "small", small)
        patch.setattr(baselines, "models", lambda contract, settings: {})
        for _ in range(2):
            documents.append(quality.measure("small", mart, settings, lambda text: None))
            documents.append(len(fits))
    return documents


def test_a_second_measurement_fits_nothing_and_says_the_same(measured):
    first, n_first, second, n_both = measured
    assert n_first == n_both == N_FITS
    assert quality.without_nan(first) == quality.without_nan(second)


def test_rolling_origin_is_added_to_the_old_keys(measured):
    document = measured[0]
    assert {
        "cv_auroc",
        "test_auroc",
        "baselines",
        "rolling",
        "capacity",
        "decay",
        "monitor_replay",
        "deciders",
    } <= document.keys()
    rolling = document["rolling"]
    model = rolling["models"]["small"]
    assert rolling["n_stays"] == model["all"]["n"] == 750
    assert model["new"]["n"] + model["returning"]["n"] == 750
    assert rolling["share_returning"] == pytest.approx(model["returning"]["n"] / 750)
    assert rolling["folds_on_same_stays"]["small"]["n"] == 750
    assert len(model["slices"]) == rolling["n_cuts"] == 10
    for metric in model["all"]["metrics"].values():
        assert metric["low"] < metric["high"]
    assert model["all"]["metrics"]["auroc"]["figure"] > 0.55


def test_numbers_have_paths_and_nan_becomes_null():
    document = {"a": {"b": [1, np.nan]}, "c": "text", "d": 0.5}
    assert quality.flat(document) == {"a/b/0": 1.0, "d": 0.5}
    assert json.loads(json.dumps(quality.without_nan(document)))["a"]["b"] == [1, None]


def test_scores_are_kept_for_the_same_rows_contract_and_seed_only():
    name = score_store.key("rows", "contract", 1)
    assert name == score_store.key("rows", "contract", 1)
    others = {
        score_store.key("other", "contract", 1),
        score_store.key("rows", "other", 1),
        score_store.key("rows", "contract", 2),
    }
    assert name not in others
    assert len(others) == 3


def test_a_fit_that_fails_leaves_no_scores(tmp_path):
    store = score_store.ScoreStore(tmp_path)

    def fail():
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        store.get("fit", fail)
    assert list(tmp_path.iterdir()) == []
    assert store.get("fit", lambda: np.array([0.5])).tolist() == [0.5]
    assert store.get("fit", fail).tolist() == [0.5]
