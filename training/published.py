"""Published approaches to these data, rebuilt to be measured. None of them is a candidate.

Each approach is its columns and its model, from the description in its source: no code of it is
here. It is measured twice. By its own protocol: do we get the published figure? And by ours. The
steps between the two say what the difference is made of.

The rows are those of the source file, also the deceased, under the names of the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from readmit.intake import source_values
from readmit.intake.layout import COLUMNS
from training.model_metrics import Floats, Mask

AS_PUBLISHED = "as published"
TESTED_SHARE = 0.2
OUTLIER = 3.0  # standard deviations
N_NEIGHBOURS = 5
RAREST_CODE = 50  # rows; rarer codes of a column share one
DECEASED = ["11", "19", "20", "21"]
HOSPICE = ["13", "14"]
# The numbers of the source file that are no code and no id.
COUNTS = [name for name in source_values.NUMBERS if not name.endswith(("_id", "_nbr"))]
NUMBERS = ["age", *COUNTS]
NOT_USED = [
    "encounter_id",
    "patient_nbr",
    "readmitted",
    "weight",
    "payer_code",
    "medical_specialty",
    "examide",
    "citoglipton",
]
CODES = [name for name in COLUMNS if name not in (*NOT_USED, *NUMBERS)]
# The first codes of the chapters of ICD-9, injuries last; V and E codes are a chapter of their own.
CHAPTERS = (0, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800, 1000)
STRACK_CODES = [
    "race",
    "age_group",
    "discharge_disposition_id",
    "admission_source_id",
    "medical_specialty",
    "diag_1",
    "A1Cresult",
]


@dataclass(frozen=True)
class Tested:
    """Outcomes and probabilities of the rows that a protocol tested, shapes (n,)."""

    y: Floats
    p: Floats


@dataclass(frozen=True)
class Approach:
    """A published approach: where it is described, its figures, its model and its protocol."""

    source: str
    licence: str
    published: Mapping[str, float]
    make: Callable[[int], Pipeline]  # from a seed; fits on rows of `prepared`
    protocol: Callable[[Pipeline, pd.DataFrame, int], dict[str, Tested]]


class Oversampled(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn: no types
    """A model that is fitted on rows with made-up readmissions (SMOTE, Chawla et al. 2002)."""

    def __init__(self, model: ClassifierMixin, seed: int) -> None:
        self.model = model
        self.seed = seed

    def fit(self, x: Floats, y: Floats) -> "Oversampled":
        """Fit on the rows and on the made-up ones."""
        self.fitted_ = clone(self.model).fit(*oversample(x, y, self.seed))
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, x: Floats) -> Floats:
        """Return the probability of each class, shape (n, 2)."""
        by_class: Floats = self.fitted_.predict_proba(x)
        return by_class


def oversample(x: Floats, y: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the rows and as many made-up readmissions as balance the outcomes.

    A made-up row lies between a readmission and one of its nearest readmissions.
    """
    rng = np.random.default_rng(seed)
    positive = x[y == 1]
    n_new = int((y == 0).sum()) - len(positive)
    search = NearestNeighbors(n_neighbors=N_NEIGHBOURS + 1).fit(positive)
    neighbours = search.kneighbors(positive, return_distance=False)[:, 1:]
    start = rng.integers(len(positive), size=n_new)
    towards = neighbours[start, rng.integers(N_NEIGHBOURS, size=n_new)]
    distance = rng.random((n_new, 1), dtype=np.float32)
    made_up = positive[start] + distance * (positive[towards] - positive[start])
    return np.vstack([x, made_up]), np.append(y, np.ones(n_new))


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the approaches read, from rows of the source file."""
    table = rows.copy()
    decade = table["age"].str.extract(r"(\d+)")[0].astype(float)
    table["age"] = decade + 5
    table["age_group"] = pd.cut(decade, [0, 30, 60, 100], right=False).astype(str)
    for name in source_values.DIAGNOSES:
        code = pd.to_numeric(table[name], errors="coerce")
        table[name] = pd.cut(code, CHAPTERS, right=False).astype(str)
    return table


def outcomes(rows: pd.DataFrame) -> Floats:
    """Return 1 for a readmission within 30 days, shape (n,)."""
    is_readmitted: Floats = np.asarray(rows["readmitted"] == "<30", dtype=np.float64)
    return is_readmitted


def probabilities(model: Pipeline, rows: pd.DataFrame) -> Floats:
    """Return the probability of readmission, shape (n,)."""
    by_class: Floats = model.predict_proba(rows)
    return by_class[:, 1]


def _one_hot(numbers: list[str], codes: list[str]) -> Pipeline:
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=RAREST_CODE,
        sparse_output=False,
        dtype=np.float32,
    )
    columns = ColumnTransformer([("numbers", StandardScaler(), numbers), ("codes", one_hot, codes)])
    return Pipeline([("columns", columns), ("single", FunctionTransformer(np.float32))])


def _forest_after_smote(seed: int) -> Pipeline:
    forest = RandomForestClassifier(
        n_estimators=10, max_depth=25, min_samples_split=10, random_state=seed
    )
    model = Oversampled(forest, seed)
    return Pipeline([("encode", _one_hot(NUMBERS, CODES)), ("model", model)])


def _boosting(seed: int) -> Pipeline:
    # Trees need no one-hot columns; with codes they are fitted in a third of the time.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("numbers", "passthrough", NUMBERS), ("codes", codes, CODES)])
    model = HistGradientBoostingClassifier(random_state=seed)
    return Pipeline([("encode", encode), ("model", model)])


def _logistic_of_strack(seed: int) -> Pipeline:
    model = LogisticRegression(max_iter=1000, random_state=seed)
    encode = _one_hot(["time_in_hospital"], STRACK_CODES)
    return Pipeline([("encode", encode), ("model", model)])


def first_stays(rows: pd.DataFrame) -> Mask:
    """Return whether a row is the first stay of its patient; rows are in the order of time."""
    is_first: Mask = ~rows["patient_nbr"].duplicated().to_numpy()
    return is_first


def _usual(rows: pd.DataFrame) -> Mask:
    numbers = rows[NUMBERS]
    distance = (numbers - numbers.mean()).abs() / numbers.std()
    is_usual: Mask = (distance < OUTLIER).all(axis=1).to_numpy()
    return is_usual


def _smote_before_the_split(model: Pipeline, rows: pd.DataFrame, seed: int) -> dict[str, Tested]:
    """Oversample first stays, then test on a fifth; and the other way round."""
    is_alive = ~rows["discharge_disposition_id"].isin(DECEASED).to_numpy()
    stays = rows[first_stays(rows) & is_alive]
    stays = stays[_usual(stays)]
    y = outcomes(stays)
    encode = clone(model.named_steps["encode"])
    balanced = oversample(encode.fit_transform(stays), y, seed)
    x_train, x_test, y_train, y_test = train_test_split(
        *balanced, test_size=TESTED_SHARE, random_state=seed
    )
    forest = clone(model.named_steps["model"].model).fit(x_train, y_train)
    train, test = train_test_split(stays, test_size=TESTED_SHARE, random_state=seed, stratify=y)
    refitted = clone(model).fit(train, outcomes(train))
    return {
        AS_PUBLISHED: Tested(y_test, forest.predict_proba(x_test)[:, 1]),
        "oversampled after the split": Tested(outcomes(test), probabilities(refitted, test)),
    }


def _random_rows(model: Pipeline, rows: pd.DataFrame, seed: int) -> dict[str, Tested]:
    """Test on a fifth of all rows, also of the deceased and of patients in both parts."""
    y = outcomes(rows)
    train, test = train_test_split(rows, test_size=TESTED_SHARE, random_state=seed, stratify=y)
    p = probabilities(clone(model).fit(train, outcomes(train)), test)
    y_test = outcomes(test)
    is_alive = ~test["discharge_disposition_id"].isin([*DECEASED, *HOSPICE]).to_numpy()
    is_new = ~test["patient_nbr"].isin(train["patient_nbr"]).to_numpy()
    in_both = is_alive & ~is_new
    return {
        AS_PUBLISHED: Tested(y_test, p),
        "tested without the deceased": Tested(y_test[is_alive], p[is_alive]),
        "of these, patients of the training rows": Tested(y_test[in_both], p[in_both]),
        "of these, other patients": Tested(y_test[is_alive & is_new], p[is_alive & is_new]),
    }


def _first_stays_only(model: Pipeline, rows: pd.DataFrame, seed: int) -> dict[str, Tested]:
    """Test on a fifth of the first stays that did not end in death or a hospice."""
    is_alive = ~rows["discharge_disposition_id"].isin([*DECEASED, *HOSPICE]).to_numpy()
    stays = rows[is_alive]
    stays = stays[first_stays(stays)]
    y = outcomes(stays)
    train, test = train_test_split(stays, test_size=TESTED_SHARE, random_state=seed, stratify=y)
    fitted = clone(model).fit(train, outcomes(train))
    everybody = clone(model).fit(stays, y)
    return {
        AS_PUBLISHED: Tested(y, probabilities(everybody, stays)),
        "tested on stays not fitted": Tested(outcomes(test), probabilities(fitted, test)),
    }


APPROACHES = {
    "forest_after_smote": Approach(
        source="U. Raza 2018, How to use machine learning to predict hospital readmissions?, Medium"
        " (accuracy); moggirain/Hospital_readmission_prediction, GitHub (AUROC)",
        licence="none stated",
        published={"accuracy": 0.94, "auroc": 0.94},
        make=_forest_after_smote,
        protocol=_smote_before_the_split,
    ),
    "boosting_on_rows": Approach(
        source="O. Emi-Johnson and K. Nkrumah 2025, Cureus 17(4): e82437, XGBoost",
        licence="CC BY 4.0",
        published={"auroc": 0.667},
        make=_boosting,
        protocol=_random_rows,
    ),
    "logistic_of_first_stays": Approach(
        source="B. Strack et al. 2014, BioMed Research International 781670",
        licence="CC BY 3.0",
        published={"n": 69_984},
        make=_logistic_of_strack,
        protocol=_first_stays_only,
    ),
}
