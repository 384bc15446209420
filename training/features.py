"""Frames as the contract has them: column lists, types and the schema of a model, all derived from the contract."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from readmit.contract.definition import Contract, Feature

KEYS = ("encounter_id", "patient_nbr", "split", "_batch_id")
# Wider than this, a category is encoded by its target rate instead of one code per value.
MOST_CODES = 8

# Pairs whose joint rate says more than both rates: found on train folds, where they raised average precision by 0.008
# (docs/experiments.md has the figure with validation rows). A discharge to rehabilitation means another thing after one
# inpatient visit than after five.
PAIRS = (
    ("discharge_disposition_id", "n_inpatient_visits"),
    ("discharge_disposition_id", "diagnosis_1_section"),
    ("discharge_disposition_id", "payer_code"),
    ("discharge_disposition_id", "medical_specialty"),
    ("discharge_disposition_id", "admission_source_id"),
    ("discharge_disposition_id", "age_band"),
    ("n_inpatient_visits", "insulin"),
    ("n_inpatient_visits", "age_band"),
    ("n_inpatient_visits", "diagnosis_1_section"),
    ("n_inpatient_visits", "admission_source_id"),
    ("n_inpatient_visits", "medical_specialty"),
    ("n_inpatient_visits", "length_of_stay_days"),
    ("medical_specialty", "diagnosis_1_section"),
    ("medical_specialty", "insulin"),
    ("medical_specialty", "payer_code"),
    ("medical_specialty", "age_band"),
    ("admission_source_id", "diagnosis_1_section"),
    ("payer_code", "age_band"),
    ("payer_code", "diagnosis_1_section"),
    ("length_of_stay_days", "diagnosis_1_section"),
)

PANDAS_TYPES = {
    "text": "str",
    "integer": "int64",
    "bigint": "int64",
    "boolean": "bool",
    "double precision": "float64",
}
MLFLOW_TYPES = {
    "text": "string",
    "integer": "long",
    "bigint": "long",
    "boolean": "boolean",
    "double precision": "double",
}


def names(features: Sequence[Feature]) -> list[str]:
    """Return the names of features, in order."""
    return [feature.name for feature in features]


def columns(contract: Contract) -> list[str]:
    """Return the columns that a model reads, in the order of the contract."""
    return names(contract.features)


def narrow_categories(contract: Contract) -> list[str]:
    """Return the categories with few values: one code per value."""
    return [f.name for f in contract.features if f.kind == "category" and not _is_wide(contract, f)]


def wide_categories(contract: Contract) -> list[str]:
    """Return the categories with many values (codes of diagnoses, specialties): encoded by their target rate."""
    return [f.name for f in contract.features if f.kind == "category" and _is_wide(contract, f)]


def pairs(contract: Contract) -> list[tuple[str, str]]:
    """Return the pairs of columns that are encoded together, as far as the contract has both."""
    return [pair for pair in PAIRS if pair[0] in contract.by_name and pair[1] in contract.by_name]


def paired(contract: Contract) -> list[str]:
    """Return the columns that are part of a pair, each once."""
    return list(dict.fromkeys(name for pair in pairs(contract) for name in pair))


def width(contract: Contract) -> int:
    """Return the number of columns after encoding."""
    return len(contract.features) + len(pairs(contract))


def numbers(contract: Contract) -> list[str]:
    """Return numbers and flags, used as they are."""
    return [f.name for f in contract.features if f.kind != "category"]


def _is_wide(contract: Contract, feature: Feature) -> bool:
    return len(feature.allowed_values(contract)) > MOST_CODES


def pandas_types(contract: Contract) -> dict[str, str]:
    """Return the pandas type of each column of the mart, keys and label included."""
    keys = {"encounter_id": "int64", "patient_nbr": "int64", "split": "str", "_batch_id": "str"}
    features = {feature.name: PANDAS_TYPES[feature.data_type] for feature in contract.features}
    return keys | {contract.label.name: PANDAS_TYPES[contract.label.data_type]} | features


def signature(contract: Contract) -> ModelSignature:
    """Return the MLflow signature: the contract's columns to the probabilities of both classes."""
    inputs = Schema(
        [ColSpec(MLFLOW_TYPES[feature.data_type], feature.name) for feature in contract.features]
    )
    return ModelSignature(inputs, Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))


def labels(contract: Contract, frame: pd.DataFrame) -> np.ndarray:
    """Return the label as 0 and 1, shape (n,)."""
    return frame[contract.label.name].to_numpy(dtype=np.int64)
