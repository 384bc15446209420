"""The hot-path form of a registered model: a table of column encodings and a scorer, without pandas or sklearn.

The folder `compiled/` of a bundle holds `encoder.json` and what the scorer reads: `trees.npz` for boosted trees
(`readmit.inference.tree_tables`), or `model.onnx` for anything else (one float32 input of shape (n, columns)). `encoder.json`:

    {"format": 1, "output": "probabilities", "positive": 1, "columns": [
        {"name": "race", "codes": {"Caucasian": 0.0}, "other": -1.0},       a category: text of the value -> float
        {"name": "race", "with": "gender", "codes": {...}, "other": 11.0},  a pair: both texts, joined by JOINT -> float
        {"name": "n_medications"}]}                                         a number or a flag, as it is

One float per column, in the order of the list; whatever is wider (one-hot) is inside the graph.
`output` names the graph's output of shape (n, classes) and `positive` is the index of the class "readmitted"; trees
have `trees` instead. The contract stands beside the folder.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from readmit.contract.definition import Contract
from readmit.contract.derivation import tuple_getter
from readmit.inference.encoding import Encoder
from readmit.inference.tree_tables import TreeScorer

FORMAT = 1


class Scorer(Protocol):
    """From encoded rows to probabilities."""

    def place(self, column: int, /) -> Callable[[float], Any]:
        """Return the function from a float of the column to what the scorer wants."""
        ...

    def score(self, rows: Sequence[Sequence[Any]], /) -> list[float]:
        """Return the probability of each row of values as `place` gives them."""
        ...


class OnnxScorer:
    """Any Pipeline, by ONNX Runtime."""

    def __init__(self, graph: Path, encoder: Mapping[str, Any]) -> None:
        # Only models that are not boosted trees need it; it takes memory and a second to import.
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs, self._positive = [encoder["output"]], int(encoder["positive"])

    def place(self, _: int, /) -> Callable[[float], float]:
        """Values stay what they are."""
        return float

    def score(self, rows: Sequence[Sequence[float]], /) -> list[float]:
        """Return the probability of each row."""
        scores = self._session.run(self._outputs, {self._input: np.array(rows, dtype=np.float32)})[
            0
        ]
        return [float(p) for p in scores[:, self._positive]]


class CompiledModel:
    """Scores rows of inputs and history; derived features are computed here from the contract's declarations.

    Raises:
        ValueError: the encoder has another format.
    """

    def __init__(self, contract: Contract, encoder: Mapping[str, Any], scorer: Scorer) -> None:
        if encoder["format"] != FORMAT:
            raise ValueError(
                f"encoder.json has format {encoder['format']}, this runtime reads {FORMAT}"
            )
        self._encode, self._scorer = Encoder(contract, encoder["columns"], scorer.place), scorer
        self._values = tuple_getter(contract.base_names)

    @classmethod
    def load(cls, folder: Path) -> "CompiledModel":
        """Read a bundle: `contract.json` and `compiled/` in `folder`.

        Raises:
            FileNotFoundError: a file is missing (ONNX Runtime has an error of its own for that).
        """
        contract = Contract.from_json((folder / "contract.json").read_text())
        compiled = folder / "compiled"
        encoder = json.loads((compiled / "encoder.json").read_text())
        if "trees" in encoder:
            with np.load(compiled / "trees.npz", allow_pickle=False) as arrays:
                return cls(contract, encoder, TreeScorer(arrays, encoder["trees"]))
        return cls(
            contract, encoder, OnnxScorer((compiled / "model.onnx").resolve(strict=True), encoder)
        )

    def score(self, rows: Sequence[Sequence[Any]]) -> list[float]:
        """Return the probability of each row, in order; a row has the values of `contract.base_names`."""
        return self._scorer.score([self._encode(row) for row in rows]) if rows else []

    def predict_many(self, rows: Iterable[Mapping[str, Any]]) -> list[float]:
        """Return the probability of each row of inputs and history by name; a missing one is a KeyError."""
        return self.score([self._values(row) for row in rows])

    def predict_one(self, row: Mapping[str, Any]) -> float:
        """Return the probability of one row of inputs and history by name."""
        return self.predict_many([row])[0]
