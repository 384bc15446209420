"""Compile a Pipeline into its form for the API, and prove that both give the same probabilities.

The form is described in `readmit.inference.compiled_model`.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from readmit.contract.definition import Contract
from readmit.contract.derivation import base_rows, derive_frame
from readmit.inference.compiled_model import FORMAT, CompiledModel
from readmit.inference.encoding import JOINT
from training import features, tree_export
from training.candidates import PAIR_BASE, RATE_PER

TOLERANCE = 1e-6
MAX_ROWS_COMPARED = 10_000
N_ENCODING = 2  # steps of each Pipeline that become the encoder table (see `candidates`)
OPSETS = {"": 18, "ai.onnx.ml": 3}

EncoderColumn = dict[str, object]  # one of `columns` of `encoder.json`


class CannotCompile(Exception):
    """The Pipeline has no compiled form that agrees with it; the message says where they differ."""


def encoder_table(pipeline: Pipeline, contract: Contract) -> list[EncoderColumn]:
    """Return the columns of the encoder of a fitted Pipeline, as the compiled model reads them."""
    encode = pipeline.named_steps["encode"]
    columns = [
        *_code_columns(encode, features.narrow_categories(contract)),
        *_rate_columns(encode, features.wide_categories(contract)),
        *_pair_columns(encode, contract),
    ]
    for name in features.numbers(contract):
        columns.append({"name": name})
    return columns


def _code_columns(encode: ColumnTransformer, names: Sequence[str]) -> list[EncoderColumn]:
    columns: list[EncoderColumn] = []
    if not names:
        return columns
    encoder = encode.named_transformers_["codes"]
    for name, values in zip(names, encoder.categories_, strict=True):
        codes = {str(value): float(code) for code, value in enumerate(values)}
        columns.append({"name": name, "codes": codes, "other": float(encoder.unknown_value)})
    return columns


def _rate_columns(encode: ColumnTransformer, names: Sequence[str]) -> list[EncoderColumn]:
    columns: list[EncoderColumn] = []
    if not names:
        return columns
    encoder = encode.named_transformers_["rates"].named_steps["rate"]
    for name, values, rates in zip(names, encoder.categories_, encoder.encodings_, strict=True):
        codes = _rates_by_text(map(str, values), rates)
        columns.append({"name": name, "codes": codes, "other": _mean_rate(encoder)})
    return columns


def _pair_columns(encode: ColumnTransformer, contract: Contract) -> list[EncoderColumn]:
    """Return the columns of pairs.

    The Pipeline joins the codes of both values to one number (see `candidates`). Here each number
    is taken apart again, into the texts of both values.
    """
    columns: list[EncoderColumn] = []
    pairs = features.pairs(contract)
    if not pairs:
        return columns
    steps = encode.named_transformers_["pairs"].named_steps
    encoder = steps["rates"].named_steps["rate"]
    texts = dict(zip(features.paired(contract), steps["codes"].categories_, strict=True))
    for pair, numbers, rates in zip(pairs, encoder.categories_, encoder.encodings_, strict=True):
        first, second = pair
        joined_texts = []
        for number in numbers:
            first_code, second_code = divmod(int(number), PAIR_BASE)
            joined_texts.append(f"{texts[first][first_code]}{JOINT}{texts[second][second_code]}")
        codes = _rates_by_text(joined_texts, rates)
        columns.append(
            {"name": first, "with": second, "codes": codes, "other": _mean_rate(encoder)}
        )
    return columns


def _rates_by_text(texts: Iterable[str], rates: Iterable[float]) -> dict[str, float]:
    return {text: _whole_rate(rate) for text, rate in zip(texts, rates, strict=True)}


def _mean_rate(encoder: TargetEncoder) -> float:
    return _whole_rate(encoder.target_mean_)


def _whole_rate(rate: float) -> float:
    return float(np.rint(rate * RATE_PER))


def write(pipeline: Pipeline, contract: Contract, frame: pd.DataFrame, folder: Path) -> float:
    """Write `contract.json` and `compiled/`; return the largest difference to the Pipeline.

    Args: pipeline: fitted, from contract columns to probability. contract: the contract of the rows
        that it was fitted on. frame: rows of the mart. At most 10,000 are compared, through inputs
        and history only, so that derived features are computed by `readmit.contract.derivation` as
        they are for a request. folder: the folder of the bundle.

    Raises:
        CannotCompile: no converter, or a row differs by more than 1e-6.
    """
    compiled = folder / "compiled"
    compiled.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(contract.to_json())
    encoder: dict[str, object] = {"format": FORMAT}
    encoded = pipeline[:N_ENCODING].transform(frame[features.columns(contract)])
    tables = tree_export.export(pipeline[-1], encoded)
    if tables is not None:
        arrays, encoder["trees"] = tables
        np.savez_compressed(compiled / "trees.npz", allow_pickle=False, **arrays)
    else:
        graph = _onnx_graph(pipeline, contract)
        (compiled / "model.onnx").write_bytes(graph)
        encoder |= {"output": "probabilities", "positive": 1}
    encoder["columns"] = encoder_table(pipeline, contract)
    (compiled / "encoder.json").write_text(json.dumps(encoder))
    _check_derived(contract, frame)
    step = max(1, len(frame) // MAX_ROWS_COMPARED)
    chosen = slice(None, MAX_ROWS_COMPARED * step, step)
    expected = pipeline[N_ENCODING:].predict_proba(encoded[chosen])[:, 1]
    rows = list(base_rows(contract, frame.iloc[chosen]))
    computed = np.array(CompiledModel.load(folder).score(rows))
    difference = float(np.abs(computed - expected).max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise CannotCompile(
            f"the compiled form differs by {difference:.2e}, allowed is {TOLERANCE:.0e}"
        )
    return difference


def _onnx_graph(pipeline: Pipeline, contract: Contract) -> bytes:
    """Return the ONNX graph of everything after the two encoding steps."""
    steps = pipeline[N_ENCODING:]
    try:
        model = convert_sklearn(
            steps,
            name="readmission",  # not a random one: a Pipeline must give the same file each time
            initial_types=[("columns", FloatTensorType([None, features.width(contract)]))],
            options={id(steps): {"zipmap": False}},
            target_opset=OPSETS,
        )
    except (RuntimeError, NotImplementedError, ValueError) as error:
        name = type(pipeline[-1]).__name__
        raise CannotCompile(f"{name} cannot be converted: {error}") from error
    graph: bytes = model.SerializeToString()
    return graph


def _check_derived(contract: Contract, frame: pd.DataFrame) -> None:
    """Compare the derived columns of dbt with those of `readmit.contract.derivation`.

    Raises:
        CannotCompile: a value differs.
    """
    computed = derive_frame(contract, frame[list(contract.base_names)])
    for feature in contract.derived:
        if (computed[feature.name].to_numpy() != frame[feature.name].to_numpy()).any():
            raise CannotCompile(f"{feature.name}: dbt and readmit.contract.derivation differ")
