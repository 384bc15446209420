"""Compile a Pipeline into its hot-path form (`readmit.inference.compiled_model`) and prove that both say the same."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from readmit.contract.definition import Contract
from readmit.contract.derivation import derive_frame
from readmit.inference.compiled_model import FORMAT, CompiledModel
from readmit.inference.encoding import JOINT
from training import features, tree_export
from training.candidates import PAIR_BASE, RATE_PER

TOLERANCE = 1e-6
ROWS_COMPARED = 10_000
OPSETS = {"": 18, "ai.onnx.ml": 3}


class CannotCompile(Exception):
    """The Pipeline has no hot-path form that agrees with it; the message says where they differ."""


def encoder_table(pipeline: Pipeline, contract: Contract) -> list[dict[str, Any]]:
    """Return the columns of a fitted pipeline's encoder as `readmit.inference.compiled_model` reads them."""
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
    return columns + [{"name": name} for name in features.numbers(contract)]


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


def _write_trees(
    pipeline: Pipeline, contract: Contract, frame: pd.DataFrame, folder: Path
) -> dict[str, Any] | None:
    """Write `tree_export.npz`, if the model is made of boosted trees; return what `encoder.json` says of it."""
    found = tree_export.take_apart(
        pipeline[-1], pipeline[:-1].transform(frame[features.columns(contract)])
    )
    if found is None:
        return None
    arrays, how = found
    np.savez_compressed(folder / "trees.npz", allow_pickle=False, **arrays)
    return {"trees": how}


def _write_graph(pipeline: Pipeline, contract: Contract, folder: Path) -> dict[str, Any]:
    """Write the ONNX graph of everything after the two encoding steps; return what `encoder.json` says of it."""
    rest = pipeline[2:]
    try:
        model = convert_sklearn(
            rest,
            initial_types=[("columns", FloatTensorType([None, features.width(contract)]))],
            options={id(rest): {"zipmap": False}},
            target_opset=OPSETS,
        )
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise CannotCompile(
            f"{type(pipeline[-1]).__name__} cannot be converted: {error}"
        ) from error
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return {"output": "probabilities", "positive": 1}


def write(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame, folder: Path) -> float:
    """Write `contract.json` and `compiled/`; return the largest difference to the Pipeline.

    Args:
        pipeline: fitted, from contract columns to probability.
        contract: what it was fitted on.
        frame: rows of the mart; at most 10,000 are compared, through inputs and history only, so that derived
            features are computed by `readmit.contract.derivation` as they are for a request.
        folder: where the bundle is.

    Raises:
        CannotCompile: no converter, or a row differs by more than 1e-6.
    """
    compiled = folder / "compiled"
    compiled.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(contract.to_json())
    columns = encoder_table(pipeline, contract)
    scorer = _write_trees(pipeline, contract, frame, compiled) or _write_graph(
        pipeline, contract, compiled
    )
    (compiled / "encoder.json").write_text(
        json.dumps({"format": FORMAT, **scorer, "columns": columns})
    )
    _check_derived(contract, frame)
    worst = worst_difference(pipeline, CompiledModel.load(folder), contract, frame)
    if not worst <= TOLERANCE:  # NaN fails too
        raise CannotCompile(f"the compiled form differs by {worst:.2e}, allowed is {TOLERANCE:.0e}")
    return worst


def _check_derived(contract: Contract, frame: pd.DataFrame) -> None:
    """Compare the derived columns that dbt made with those of `readmit.contract.derivation`.

    Raises:
        CannotCompile: a value differs.
    """
    computed = derive_frame(contract, frame[list(contract.base_names)])
    for feature in contract.derived:
        if (computed[feature.name].to_numpy() != frame[feature.name].to_numpy()).any():
            raise CannotCompile(f"{feature.name}: dbt and readmit.contract.derivation differ")


def worst_difference(
    pipeline: Pipeline, compiled: CompiledModel, contract: Contract, frame: pd.DataFrame
) -> float:
    """Return the largest difference of both forms over at most 10,000 rows, spread over the frame."""
    step = max(1, len(frame) // ROWS_COMPARED)
    chosen = frame.iloc[::step].head(ROWS_COMPARED)
    rows = list(chosen[list(contract.base_names)].itertuples(index=False, name=None))
    expected = pipeline.predict_proba(chosen[features.columns(contract)])[:, 1]
    return float(np.abs(np.array(compiled.score(rows)) - expected).max())
