"""The candidates: each one sklearn Pipeline from contract columns to the probability of readmission.

All begin with the same two steps (`encode`, `single`), which become the encoder table of the compiled form
(`readmit.inference.compiled_model`); everything after them becomes one ONNX graph. No class weights and no resampling: both bend the
probabilities, and the operating point is chosen from costs instead.
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

# Target rates are whole numbers per 10,000: a split between two of them is exact in float32, so both forms agree.
RATE_PER = 10_000.0
# Rows of the mean rate that each value's own rate is mixed with.
WIDE_SMOOTHING, PAIR_SMOOTHING = 50, 20
PAIR_BASE = 1000  # more than any column of a pair has values

Candidate = Callable[[Contract, int, int], Pipeline]


def encoding(contract: Contract, seed: int) -> list[tuple[str, object]]:
    """Return the first two steps of every pipeline: contract columns to a float32 array, a column per feature.

    Wide categories get their target rate, shrunk to the mean and cross-fitted (Micci-Barreca 2001; as implemented in
    `sklearn.preprocessing.TargetEncoder`). Float32 because the compiled form computes in it: both see the same numbers.
    """
    columns = [
        ("codes", _codes(), features.narrow_categories(contract)),
        ("rates", _rates(WIDE_SMOOTHING, seed), features.wide_categories(contract)),
        ("pairs", _pairs(contract, seed), features.paired(contract)),
        ("numbers", "passthrough", features.numbers(contract)),
    ]
    encode = ColumnTransformer([column for column in columns if column[2]])
    return [
        ("encode", encode),
        ("single", FunctionTransformer(np.asarray, kw_args={"dtype": "float32"})),
    ]


def _codes() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def _rates(smooth: float, seed: int) -> Pipeline:
    return Pipeline(
        [
            (
                "rate",
                TargetEncoder(
                    smooth=smooth, cv=StratifiedKFold(5, shuffle=True, random_state=seed)
                ),
            ),
            (
                "scaled",
                FunctionTransformer(np.interp, kw_args={"xp": [0.0, 1.0], "fp": [0.0, RATE_PER]}),
            ),
            ("whole", FunctionTransformer(np.rint)),
        ]
    )


def _pairs(contract: Contract, seed: int) -> Pipeline:
    """Rates of pairs: both codes become one number, `first * PAIR_BASE + second`, which gets its target rate."""
    names, pairs = features.paired(contract), features.pairs(contract)
    join = np.zeros((len(names), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        join[names.index(first), column], join[names.index(second), column] = PAIR_BASE, 1
    together = FunctionTransformer(np.dot, kw_args={"b": join})
    return Pipeline(
        [("codes", _codes()), ("together", together), ("rates", _rates(PAIR_SMOOTHING, seed))]
    )


def logistic(contract: Contract, seed: int, threads: int) -> Pipeline:  # noqa: ARG001 (a Candidate)
    """Logistic regression on one-hot codes and standardised numbers: the explainable reference."""
    n_codes, n_all = len(features.narrow_categories(contract)), features.width(contract)
    wide = ColumnTransformer(
        [
            ("onehot", OneHotEncoder(handle_unknown="ignore"), list(range(n_codes))),
            ("scaled", StandardScaler(), list(range(n_codes, n_all))),
        ]
    )
    model = LogisticRegression(C=0.1, max_iter=1000, random_state=seed)
    return Pipeline([*encoding(contract, seed), ("wide", wide), ("model", model)])


def _with(model: ClassifierMixin, contract: Contract, seed: int) -> Pipeline:
    return Pipeline([*encoding(contract, seed), ("model", model)])


def random_forest(contract: Contract, seed: int, threads: int) -> Pipeline:
    """Random forest (Breiman 2001) with leaves large enough for probabilities."""
    forest = RandomForestClassifier(
        n_estimators=300,
        min_samples_leaf=15,
        max_features=0.15,
        max_depth=14,
        n_jobs=threads,
        random_state=seed,
    )
    return _with(forest, contract, seed)


def hist_boosting(contract: Contract, seed: int, threads: int) -> Pipeline:  # noqa: ARG001 (a Candidate)
    """Histogram gradient boosting of scikit-learn, with its own settings."""
    return _with(
        HistGradientBoostingClassifier(early_stopping=False, random_state=seed), contract, seed
    )


def lightgbm(contract: Contract, seed: int, threads: int) -> Pipeline:
    """Gradient boosting with LightGBM (Ke et al. 2017); settings found on train folds (docs/adr/0050-training.md)."""
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
    return _with(model, contract, seed)


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
    return _with(model, contract, seed)


CANDIDATES: dict[str, Candidate] = {
    "logistic": logistic,
    "random_forest": random_forest,
    "hist_boosting": hist_boosting,
    "lightgbm": lightgbm,
    "catboost": catboost,
}
