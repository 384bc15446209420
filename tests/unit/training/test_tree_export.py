"""Boosted trees as tables: the same probability as the model, on every side of every threshold."""

import numpy as np
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from readmit.inference.tree_tables import TreeScorer
from training import tree_export

COLUMNS = 7


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(5)
    x = random.integers(-3, 12, (3_000, COLUMNS)).astype(np.float32)
    x[:, 0] = 4  # a constant column has no threshold
    x[:, 1] += 0.5
    risk = 1 / (1 + np.exp(-(x[:, 1] * 0.3 - x[:, 2] * (x[:, 3] > 5) * 0.2)))
    return x, (random.random(len(x)) < risk).astype(int)


def lightgbm(**settings):
    return LGBMClassifier(n_estimators=40, min_child_samples=5, n_jobs=1, verbose=-1, **settings)


def catboost(depth):
    return CatBoostClassifier(
        iterations=30, depth=depth, thread_count=1, verbose=0, allow_writing_files=False
    )


def scorer(model, x):
    arrays, tree_format = tree_export.export(model, x)
    return TreeScorer(arrays, tree_format)


def bins(scorer, x):
    converters = [scorer.converter(column) for column in range(x.shape[1])]
    rows = []
    for row in x:
        rows.append([convert(float(value)) for convert, value in zip(converters, row, strict=True)])
    return rows


def everywhere(model, x):
    """Return rows on, below and above thresholds of the model, far outside of them, and those of
    the data.
    """
    arrays, _ = tree_export.export(model, x)
    rows = [np.float32(arrays["reference"])]
    # LightGBM's zero is a little wide.
    thresholds = np.where(np.abs(arrays["threshold"]) < 1e-30, 0, arrays["threshold"])
    for column, threshold in zip(arrays["column"], thresholds, strict=True):
        for value in (threshold, threshold + 1e-3, threshold - 1):
            rows.append(rows[0].copy())
            rows[-1][column] = value
    rows += [*x, np.full(COLUMNS, 1e6), np.full(COLUMNS, -1e6)]
    return np.vstack(rows).astype(np.float32)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lightgbm(num_leaves=5), id="LightGBM-5"),
        pytest.param(lightgbm(num_leaves=31), id="LightGBM-31"),
        pytest.param(lightgbm(num_leaves=64), id="LightGBM-64"),
        pytest.param(HistGradientBoostingClassifier(max_iter=40), id="HistGradientBoosting"),
        pytest.param(catboost(3), id="CatBoost-3"),
        pytest.param(catboost(8), id="CatBoost-8"),
    ],
)
def test_tables_give_the_probabilities_of_the_model(model, data):
    x, y = data
    model.fit(x, y)
    rows = everywhere(model, x)
    ours = scorer(model, x)
    binned_rows = bins(ours, rows)
    probabilities = ours.score(binned_rows)
    assert np.abs(np.array(probabilities) - model.predict_proba(rows)[:, 1]).max() < 1e-12
    # To the last bit: alone as among others.
    for binned_row, probability in zip(binned_rows, probabilities, strict=True):
        assert ours.score([binned_row]) == [probability]


def test_the_reference_costs_nothing(data):
    x, y = data
    model = catboost(4).fit(x, y)
    arrays, _ = tree_export.export(model, x)
    ours = scorer(model, x)
    assert bins(ours, arrays["reference"][None]) == [[0] * COLUMNS]


@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier(5, max_depth=3), lightgbm(num_leaves=65)],
)
def test_other_models_have_no_tables(model, data):
    x, y = data
    assert tree_export.export(model.fit(x, y), x) is None


def test_damaged_tables_are_noticed(data):
    x, y = data
    model = lightgbm().fit(x, y)
    arrays, tree_format = tree_export.export(model, x)
    damaged = TreeScorer(arrays | {"bits": np.roll(arrays["bits"], 1)}, tree_format)
    probabilities = np.array(damaged.score(bins(damaged, x)))
    assert np.abs(probabilities - model.predict_proba(x)[:, 1]).max() > 1e-3


def test_trees_of_histogram_boosting_are_its_decision_function(data):
    """The trees are private attributes of scikit-learn: an upgrade that changes them fails here."""
    x, y = data
    model = HistGradientBoostingClassifier(max_iter=10).fit(x, y)
    trees, bias = tree_export.hist_boosting_trees(model)

    def value(node, row):
        while isinstance(node, tree_export.Node):
            node = node.left if row[node.column] <= node.threshold else node.right
        return node.value

    rows = x[:200]
    sums = np.full(len(rows), float(bias))
    for tree in trees:
        sums += [value(tree, row) for row in rows]
    assert np.abs(sums - model.decision_function(rows)).max() < 1e-12
