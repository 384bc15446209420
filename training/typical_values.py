"""How rare each value is among the training stays, and from which sum of surprises a stay is odd.

`readmit.inference.typicality` describes the result and uses it.
"""

import numpy as np
import pandas as pd

from readmit.contract.definition import Contract, Feature
from readmit.contract.derivation import base_rows
from readmit.inference.typicality import FORMAT, FieldSurprises, Typicality, TypicalityDocument
from training.model_metrics import Floats

UNLIKE_SHARE = 0.01  # of the validation stays, which the model has not seen


def fit(contract: Contract, train: pd.DataFrame, validation: pd.DataFrame) -> TypicalityDocument:
    """Return the surprises of all values of inputs and history, and the limit of their sum.

    Args:
        contract: names the columns.
        train: rows that the model learned from.
        validation: rows of other patients; one in a hundred of them is above the limit.
    """
    fields = []
    for name in contract.base_names:
        fields.append(_field(contract.by_name[name], train[name]))
    document: TypicalityDocument = {"format": FORMAT, "limit": np.inf, "fields": fields}
    sums = distances(Typicality(document), contract, validation)
    limit = np.quantile(sums, 1 - UNLIKE_SHARE, method="higher")
    return {**document, "limit": float(limit)}


def distances(typicality: Typicality, contract: Contract, frame: pd.DataFrame) -> Floats:
    """Return the sum of surprises of each row, shape (n,)."""
    return np.array([typicality.distance(row) for row in base_rows(contract, frame)])


def _field(feature: Feature, column: pd.Series) -> FieldSurprises:
    n_rows = len(column)
    other = float(np.log(2 * n_rows))  # half a stay
    if feature.kind == "number":
        numbers, counts = np.unique(column.to_numpy(dtype=np.float64), return_counts=True)
        at_most = np.cumsum(counts) / n_rows
        at_least = np.cumsum(counts[::-1])[::-1] / n_rows
        # Twice, because a value is extreme to either side.
        shares = np.minimum(1, 2 * np.minimum(at_most, at_least))
        return {
            "name": feature.name,
            "numbers": numbers.tolist(),
            "surprises": _surprises(shares),
            "other": other,
        }
    by_text = column.astype(str).value_counts()
    rows_by_text = by_text.to_numpy()
    shares = np.array([rows_by_text[rows_by_text <= n].sum() for n in rows_by_text]) / n_rows
    return {
        "name": feature.name,
        "texts": by_text.index.tolist(),
        "surprises": _surprises(shares),
        "other": other,
    }


def _surprises(shares: Floats) -> list[float]:
    rounded: list[float] = (-np.log(shares)).round(4).tolist()
    return rounded
