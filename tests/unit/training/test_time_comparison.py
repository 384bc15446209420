"""Recipes are refitted on stays before a cut and compared on stays after it."""

import json

import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tests.support.training import make_rows
from training import candidates, time_comparison
from training.model_metrics import Bootstrap
from training.snapshots import Facts, Snapshot

BOOTSTRAP = Bootstrap(100, 1)


@pytest.fixture(scope="module")
def frozen(contract):
    rows = make_rows(contract, 3000)
    facts = Facts("f" * 64, "sample", ["train-001"], 1, 1, 0, 0, 0)
    return Snapshot(facts, contract, rows[rows["split"] != "test"].reset_index(drop=True))


@pytest.fixture
def fitted_rows(monkeypatch):
    """Two small recipes; yields the encounter ids that each fit saw."""
    seen = []

    class Model(LogisticRegression):
        def fit(self, x, y):
            seen.append(len(y))
            return super().fit(x, y)

    def recipe(column):
        def make(contract, seed, threads):
            numbers = ColumnTransformer([("numbers", "passthrough", [column])])
            return Pipeline([("numbers", numbers), ("model", Model())])

        return make

    monkeypatch.setitem(candidates.CANDIDATES, "good", recipe("n_inpatient_visits"))
    monkeypatch.setitem(candidates.CANDIDATES, "poor", recipe("n_lab_procedures"))
    return seen


def test_the_better_recipe_gains_on_later_stays(frozen, fitted_rows):
    comparison = time_comparison.compare(frozen, "good", "poor", 1, BOOTSTRAP)
    assert comparison["recipes"] == ["good", "poor"]
    assert comparison["gain"] == pytest.approx(
        comparison["challenger_score"] - comparison["production_score"]
    )
    assert comparison["gain_low"] < comparison["gain"] < comparison["gain_high"]
    assert comparison["gain"] > 0
    json.dumps(comparison, allow_nan=False)


def test_training_ends_where_testing_begins(frozen, fitted_rows):
    comparison = time_comparison.compare(frozen, "good", "poor", 1, BOOTSTRAP)
    train = frozen.split("train")["encounter_id"].sort_values()
    validation = frozen.split("validation")["encounter_id"]
    cut = train.iloc[int(len(train) * 0.8)]
    assert fitted_rows == [comparison["n_train"], comparison["n_train"]]
    assert comparison["n_train"] == (train < cut).sum()
    assert comparison["n_validation"] == (validation >= cut).sum()
    assert comparison["n_validation"] < len(validation) / 2


def test_later_train_rows_change_nothing(frozen, fitted_rows):
    comparison = time_comparison.compare(frozen, "good", "poor", 1, BOOTSTRAP)
    label = frozen.contract.label.name
    rows = frozen.rows.copy()
    train = rows[rows["split"] == "train"]["encounter_id"].sort_values()
    is_late = (rows["split"] == "train") & (
        rows["encounter_id"] >= train.iloc[int(len(train) * 0.8)]
    )
    rows.loc[is_late, label] = ~rows.loc[is_late, label]
    changed = Snapshot(frozen.facts, frozen.contract, rows)
    assert time_comparison.compare(changed, "good", "poor", 1, BOOTSTRAP) == comparison


@pytest.mark.parametrize(
    ("challenger", "production", "reason"),
    [("good", "good", "same recipe"), ("good", "elsewhere", "not known")],
)
def test_nothing_is_fitted_when_there_is_nothing_to_compare(
    frozen, fitted_rows, challenger, production, reason
):
    comparison = time_comparison.compare(frozen, challenger, production, 1, BOOTSTRAP)
    assert reason in comparison["reason"]
    assert fitted_rows == []


def test_too_few_readmissions_are_said(frozen, fitted_rows):
    rows = frozen.rows.groupby("split").head(60)
    few = Snapshot(frozen.facts, frozen.contract, rows)
    assert "too few" in time_comparison.compare(few, "good", "poor", 1, BOOTSTRAP)["reason"]
    assert fitted_rows == []
