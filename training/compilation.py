"""Compile a Pipeline into its hot-path form (`readmit.compiled`) and prove that both say the same."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from catboost.utils import convert_to_onnx_object
from onnx.helper import get_attribute_value
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from readmit.compiled import FORMAT, JOINT, CompiledModel
from readmit.contract import Contract
from readmit.derive import derive_frame
from training import features
from training.candidates import PAIR_BASE, RATE_PER

TOLERANCE = 1e-6
ROWS_COMPARED = 10_000
OPSETS = {"": 18, "ai.onnx.ml": 3}


class CannotCompile(Exception):
    """The Pipeline has no hot-path form that agrees with it; the message says where they differ."""


def encoder_table(pipeline: Pipeline, contract: Contract) -> dict[str, Any]:
    """Return the encoder of a fitted pipeline as `readmit.compiled` reads it."""
    encode = pipeline.named_steps["encode"]
    columns: list[dict[str, Any]] = []
    narrow = features.narrow_categories(contract)
    if narrow:
        codes = encode.named_transformers_["codes"]
        for name, values in zip(narrow, codes.categories_, strict=True):
            table = {str(value): float(index) for index, value in enumerate(values)}
            columns.append({"name": name, "codes": table, "other": float(codes.unknown_value)})
    if wide := features.wide_categories(contract):
        rates = encode.named_transformers_["rates"].named_steps["rate"]
        for name, values, encodings in zip(wide, rates.categories_, rates.encodings_, strict=True):
            columns.append({"name": name, **_table(map(str, values), encodings, rates)})
    if features.pairs(contract):
        columns += _pairs(encode.named_transformers_["pairs"], contract)
    columns += [{"name": name} for name in features.numbers(contract)]
    return {"format": FORMAT, "output": "probabilities", "positive": 1, "columns": columns}


def _table(keys: Iterable[str], encodings: Iterable[float], rates: TargetEncoder) -> dict[str, Any]:
    table = {key: _rate(encoding) for key, encoding in zip(keys, encodings, strict=True)}
    return {"codes": table, "other": _rate(rates.target_mean_)}


def _rate(value: float) -> float:
    return float(np.rint(value * RATE_PER))


def _pairs(fitted: Pipeline, contract: Contract) -> list[dict[str, Any]]:
    """Return the columns of pairs: the joined number of `candidates` is taken apart into the texts of both values."""
    codes, rates = fitted.named_steps["codes"], fitted.named_steps["rates"].named_steps["rate"]
    texts = dict(zip(features.paired(contract), codes.categories_, strict=True))
    columns = []
    for (first, second), joined, encodings in zip(
        features.pairs(contract), rates.categories_, rates.encodings_, strict=True
    ):
        both = [divmod(int(number), PAIR_BASE) for number in joined]
        keys = (f"{texts[first][a]}{JOINT}{texts[second][b]}" for a, b in both)
        columns.append({"name": first, "with": second, **_table(keys, encodings, rates)})
    return columns


def graph(pipeline: Pipeline, n_columns: int) -> bytes:
    """Return the ONNX graph of everything after the two encoding steps."""
    _register_converters()
    rest = pipeline[2:]
    model = convert_sklearn(
        rest,
        initial_types=[("columns", FloatTensorType([None, n_columns]))],
        options={id(rest): {"zipmap": False}},
        target_opset=OPSETS,
    )
    return bytes(model.SerializeToString())


def _parse_catboost(scope: Any, model: Any, inputs: Any, **_: Any) -> Any:  # noqa: ANN401 (skl2onnx has no types)
    """Name the outputs of a CatBoost classifier, as skl2onnx does for its own."""
    operator = scope.declare_local_operator("CatBoostCatBoostClassifier", model)
    operator.inputs = inputs
    operator.outputs = [
        scope.declare_local_variable("label", Int64TensorType()),
        scope.declare_local_variable("probabilities", FloatTensorType([None, 2])),
    ]
    return operator.outputs


def _convert_catboost(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401
    """Take the tree ensemble of CatBoost's own export into the graph."""
    node = convert_to_onnx_object(operator.raw_operator).graph.node[0]
    attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    names = [operator.outputs[0].full_name, operator.outputs[1].full_name]
    name = scope.get_unique_operator_name("catboost")
    container.add_node(
        node.op_type, operator.inputs[0].full_name, names, name=name, op_domain="ai.onnx.ml", **attributes
    )


def _register_converters() -> None:
    update_registered_converter(
        CatBoostClassifier,
        "CatBoostCatBoostClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_catboost,
        parser=_parse_catboost,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        overwrite=True,
    )
    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        overwrite=True,
    )


def write(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame, folder: Path) -> float:
    """Write `contract.json` and `compiled/`; return the largest difference to the Pipeline.

    Args:
        pipeline: fitted, from contract columns to probability.
        contract: what it was fitted on.
        frame: rows of the mart; at most 10,000 are compared, through inputs and history only, so that derived
            features are computed by `readmit.derive` as they are for a request.
        folder: where the bundle is.

    Raises:
        CannotCompile: no converter, or a row differs by more than 1e-6.
    """
    compiled = folder / "compiled"
    compiled.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(contract.to_json())
    (compiled / "encoder.json").write_text(json.dumps(encoder_table(pipeline, contract)))
    try:
        (compiled / "model.onnx").write_bytes(graph(pipeline, features.width(contract)))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise CannotCompile(f"{type(pipeline[-1]).__name__} cannot be converted: {error}") from error
    _check_derived(contract, frame)
    worst = worst_difference(pipeline, CompiledModel.load(folder), contract, frame)
    if not worst <= TOLERANCE:  # NaN fails too
        raise CannotCompile(f"the compiled form differs by {worst:.2e}, allowed is {TOLERANCE:.0e}")
    return worst


def _check_derived(contract: Contract, frame: pd.DataFrame) -> None:
    """Dbt's derived columns and those of `readmit.derive` are the same."""
    given = frame[features.names(contract.inputs) + features.names(contract.history)]
    computed = derive_frame(contract, given)
    for feature in contract.derived:
        if (computed[feature.name].to_numpy() != frame[feature.name].to_numpy()).any():
            raise CannotCompile(f"{feature.name}: dbt and readmit.derive differ")


def worst_difference(pipeline: Pipeline, compiled: CompiledModel, contract: Contract, frame: pd.DataFrame) -> float:
    """Return the largest difference of both forms over at most 10,000 rows, spread over the frame."""
    step = max(1, len(frame) // ROWS_COMPARED)
    chosen = frame.iloc[::step].head(ROWS_COMPARED)
    given = features.names(contract.inputs) + features.names(contract.history)
    rows = [dict(zip(given, row, strict=True)) for row in chosen[given].itertuples(index=False, name=None)]
    expected = pipeline.predict_proba(chosen[features.columns(contract)])[:, 1]
    return float(np.abs(np.array(compiled.predict_many(rows)) - expected).max())
