"""The candidates: sklearn Pipelines from contract columns to the probability of readmission.

All begin with the same two steps (`encode`, `single`), which become the encoder table of the
compiled form (`readmit.inference.compiled_model`). Everything after them becomes trees or an ONNX
graph. There are no class weights and no resampling: both distort the probabilities, and the
operating point comes from costs instead.
"""

from collections.abc import Callable

import numpy as np
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from readmit.contract.definition import Contract
from training import features

# Target rates are whole numbers per 10,000. A split between two of them is exact in float32, so the
# Pipeline and its compiled form agree.
RATE_PER = 10_000.0
# The weight of the mean rate, in rows, when the rate of a value is shrunk to it.
WIDE_SMOOTHING = 50
PAIR_SMOOTHING = 20
PAIR_BASE = 1000  # larger than the number of values of any column in a pair

Candidate = Callable[[Contract, int, int], Pipeline]


def encoding(contract: Contract, seed: int) -> list[tuple[str, object]]:
    """Return the first two steps of every Pipeline: one float32 column per feature and pair.

    A wide category becomes its target rate, shrunk to the mean and cross-fitted (Micci-Barreca
    2001; as implemented in `sklearn.preprocessing.TargetEncoder`). The columns are float32 because
    the compiled form computes in it, so that both see the same numbers.
    """
    transformers = [
        ("codes", _codes(), features.narrow_categories(contract)),
        ("rates", _rates(WIDE_SMOOTHING, seed), features.wide_categories(contract)),
        ("pairs", _pair_rates(contract, seed), features.paired(contract)),
        ("numbers", "passthrough", features.numbers(contract)),
    ]
    with_columns = [transformer for transformer in transformers if transformer[2]]
    to_float32 = FunctionTransformer(np.asarray, kw_args={"dtype": "float32"})
    return [("encode", ColumnTransformer(with_columns)), ("single", to_float32)]


def _codes() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def _rates(smooth: float, seed: int) -> Pipeline:
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    to_whole_scale = {"xp": [0.0, 1.0], "fp": [0.0, RATE_PER]}
    return Pipeline(
        [
            ("rate", TargetEncoder(smooth=smooth, cv=folds)),
            ("scaled", FunctionTransformer(np.interp, kw_args=to_whole_scale)),
            ("whole", FunctionTransformer(np.rint)),
        ]
    )


def _pair_rates(contract: Contract, seed: int) -> Pipeline:
    """Return the target rates of pairs of columns.

    The two codes of a pair become one number, `first * PAIR_BASE + second`, and this number gets
    its target rate.
    """
    names = features.paired(contract)
    pairs = features.pairs(contract)
    weights = np.zeros((len(names), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        weights[names.index(first), column] = PAIR_BASE
        weights[names.index(second), column] = 1
    return Pipeline(
        [
            ("codes", _codes()),
            ("together", FunctionTransformer(np.dot, kw_args={"b": weights})),
            ("rates", _rates(PAIR_SMOOTHING, seed)),
        ]
    )


def logistic(contract: Contract, seed: int, threads: int) -> Pipeline:  # noqa: ARG001 (a Candidate)
    """Logistic regression on one-hot codes and standardised numbers: the explainable reference."""
    n_codes = len(features.narrow_categories(contract))
    n_columns = features.width(contract)
    wide = ColumnTransformer(
        [
            ("onehot", OneHotEncoder(handle_unknown="ignore"), list(range(n_codes))),
            ("scaled", StandardScaler(), list(range(n_codes, n_columns))),
        ]
    )
    model = LogisticRegression(C=0.1, max_iter=1000, random_state=seed)
    return Pipeline([*encoding(contract, seed), ("wide", wide), ("model", model)])


def _with_encoding(model: ClassifierMixin, contract: Contract, seed: int) -> Pipeline:
    return Pipeline([*encoding(contract, seed), ("model", model)])


def random_forest(contract: Contract, seed: int, threads: int) -> Pipeline:
    """Random forest (Breiman 2001) with leaves large enough for probabilities.

    Each tree sees half as many rows as there are. Thrice the time gains 0.0016 of AUROC, and the
    forest is never the best (docs/adr/0118-where-the-time-goes.md).
    """
    forest = RandomForestClassifier(
        n_estimators=200,
        max_samples=0.5,
        min_samples_leaf=15,
        max_features=0.15,
        max_depth=14,
        n_jobs=threads,
        random_state=seed,
    )
    return _with_encoding(forest, contract, seed)


def hist_boosting(
    contract: Contract,
    seed: int,
    threads: int,  # noqa: ARG001 (a Candidate)
) -> Pipeline:
    """Histogram gradient boosting of scikit-learn, with its default settings."""
    model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    return _with_encoding(model, contract, seed)


def lightgbm(contract: Contract, seed: int, threads: int) -> Pipeline:
    """Gradient boosting with LightGBM (Ke et al. 2017).

    The settings were chosen on train folds (docs/adr/0050-training.md).
    """
    model = LGBMClassifier(
        n_estimators=800,
        learning_rate=0.015,
        num_leaves=31,
        min_child_samples=80,
        colsample_bytree=0.3,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=10,
        deterministic=True,
        force_row_wise=True,
        n_jobs=threads,
        random_state=seed,
        verbose=-1,
    )
    return _with_encoding(model, contract, seed)


def catboost(contract: Contract, seed: int, threads: int) -> Pipeline:
    """Gradient boosting with CatBoost (Prokhorenkova et al. 2018) on the same encoded columns."""
    model = CatBoostClassifier(
        iterations=1000,
        depth=8,
        learning_rate=0.02,
        l2_leaf_reg=10,
        rsm=0.15,
        thread_count=threads,
        random_seed=seed,
        verbose=0,
        allow_writing_files=False,
    )
    return _with_encoding(model, contract, seed)


CANDIDATES: dict[str, Candidate] = {
    "logistic": logistic,
    "random_forest": random_forest,
    "hist_boosting": hist_boosting,
    "lightgbm": lightgbm,
    "catboost": catboost,
}
