"""Scorers: from the encoded values of rows to probabilities.

ONNX Runtime is the plain way: it runs any Pipeline. Boosted trees have a faster one, tables of bits
(`readmit.inference.tree_tables`). `load_scorer` chooses by the bundle.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from readmit.inference.encoding import Column
from readmit.inference.tree_tables import TreeScorer, TreeSettings


class EncoderDocument(TypedDict, total=False):
    """The content of `encoder.json`; `readmit.inference.compiled_model` describes it."""

    format: int
    columns: list[Column]
    output: str
    positive: int
    trees: TreeSettings


class Scorer(Protocol):
    """Computes probabilities from encoded rows."""

    def converter(self, column: int, /) -> Callable[[float], float]:
        """Return the function from an encoded float of this column to the scorer's input."""
        ...

    def score(self, rows: Sequence[Sequence[Any]], /) -> list[float]:
        """Return the probability of each row; a row has the scorer's input for each column."""
        ...


def load_scorer(compiled: Path, encoder: EncoderDocument) -> Scorer:
    """Return the scorer of a bundle: tree tables if it has them, its ONNX graph otherwise.

    Args:
        compiled: the folder `compiled/` of the bundle.
        encoder: the content of its `encoder.json`.

    Raises:
        FileNotFoundError: the file of the scorer is missing.
    """
    if "trees" not in encoder:
        # ONNX Runtime has an error of its own for a missing file.
        graph = (compiled / "model.onnx").resolve(strict=True)
        return OnnxScorer(graph, encoder["output"], int(encoder["positive"]))
    with np.load(compiled / "trees.npz", allow_pickle=False) as arrays:
        return TreeScorer(arrays, encoder["trees"])


class OnnxScorer:
    """Scores with an ONNX graph.

    Args:
        graph: the file; its input is float32 of shape (rows, columns).
        output: the name of its output of shape (rows, classes).
        positive: the position of the class "readmitted" in that output.
    """

    def __init__(self, graph: Path, output: str, positive: int) -> None:
        # Imported here: it takes memory and a second, and boosted trees do not need it.
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = output
        self._positive = positive

    def converter(self, _: int, /) -> Callable[[float], float]:
        """Return `float`: the graph reads encoded values as they are."""
        return float

    def score(self, rows: Sequence[Sequence[float]], /) -> list[float]:
        """Return the probability of each row of encoded values."""
        values = np.array(rows, dtype=np.float32)
        (scores,) = self._session.run([self._output], {self._input: values})
        probabilities: list[float] = scores[:, self._positive].tolist()
        return probabilities
