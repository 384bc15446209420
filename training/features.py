"""Columns, types and the schema of a model, all derived from the contract."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from readmit.contract.definition import Contract, Feature

KEYS = ("encounter_id", "patient_nbr", "split", "_batch_id")
# A category with more values is encoded by its target rate instead of one code per value.
MAX_CODES = 8

# Pairs of columns whose joint target rate says more than the two rates. They were chosen on train
# folds, where they raised average precision by 0.008 (docs/experiments.md has the gain with
# validation rows). For example, a discharge to rehabilitation after one inpatient visit is not the
# same as after five.
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
    """Return the categories with few values; one code per value encodes them."""
    categories = [feature for feature in contract.features if feature.kind == "category"]
    return [feature.name for feature in categories if not _is_wide(contract, feature)]


def wide_categories(contract: Contract) -> list[str]:
    """Return the categories with many values, such as diagnoses; their target rate encodes them."""
    categories = [feature for feature in contract.features if feature.kind == "category"]
    return [feature.name for feature in categories if _is_wide(contract, feature)]


def pairs(contract: Contract) -> list[tuple[str, str]]:
    """Return the pairs of columns that are encoded together, if the contract has both columns."""
    return [pair for pair in PAIRS if contract.by_name.keys() >= set(pair)]


def paired(contract: Contract) -> list[str]:
    """Return the columns that are part of a pair, without repetition."""
    return list(dict.fromkeys(itertools.chain.from_iterable(pairs(contract))))


def width(contract: Contract) -> int:
    """Return the number of columns after encoding."""
    return len(contract.features) + len(pairs(contract))


def numbers(contract: Contract) -> list[str]:
    """Return numbers and flags, which are not encoded."""
    return [feature.name for feature in contract.features if feature.kind != "category"]


def _is_wide(contract: Contract, feature: Feature) -> bool:
    return len(feature.allowed_values(contract)) > MAX_CODES


def pandas_types(contract: Contract) -> dict[str, str]:
    """Return the pandas type of each column of the mart, keys and label included."""
    types = {"encounter_id": "int64", "patient_nbr": "int64", "split": "str", "_batch_id": "str"}
    types[contract.label.name] = PANDAS_TYPES[contract.label.data_type]
    for feature in contract.features:
        types[feature.name] = PANDAS_TYPES[feature.data_type]
    return types


def signature(contract: Contract) -> ModelSignature:
    """Return the MLflow signature: the features in, the probabilities of both classes out."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(MLFLOW_TYPES[feature.data_type], feature.name) for feature in contract.features
    ]
    outputs: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype("float64"), (-1, 2))]
    return ModelSignature(Schema(inputs), Schema(outputs))


def labels(contract: Contract, frame: pd.DataFrame) -> np.ndarray:
    """Return the label as 0 and 1, shape (n,)."""
    return frame[contract.label.name].to_numpy(dtype=np.int64)
