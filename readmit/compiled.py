"""The hot-path form of a registered model: a table of column encodings and an ONNX graph, without pandas or sklearn.

The folder `compiled/` of a bundle holds `model.onnx` (one float32 input of shape (n, columns)) and `encoder.json`:

    {"format": 1, "output": "probabilities", "positive": 1, "columns": [
        {"name": "n_medications"},                                          a number or a flag, as it is
        {"name": "race", "codes": {"Caucasian": 0.0}, "other": -1.0},       a category: text of the value -> float
        {"name": "race", "with": "gender", "codes": {...}, "other": 11.0}]} a pair: both texts, joined by JOINT -> float

One float per column; whatever is wider (one-hot) is inside the graph. `output` names the graph's output of shape
(n, classes) and `positive` is the index of the class "readmitted". The contract stands beside the folder.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from readmit.contract import Contract
from readmit.derive import derive_row

FORMAT = 1
JOINT = "\x1f"  # the unit separator: no value holds it
Column = tuple[str, str | None, dict[str, float] | None, float]


class CompiledModel:
    """Scores rows of inputs and history; derived features are computed here from the contract's declarations."""

    def __init__(self, contract: Contract, encoder: Mapping[str, Any], graph: bytes | str) -> None:
        if encoder["format"] != FORMAT:
            raise ValueError(f"encoder.json has format {encoder['format']}, this runtime reads {FORMAT}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs, self._positive = [encoder["output"]], int(encoder["positive"])
        self._contract = contract
        self._columns: list[Column] = [
            (c["name"], c.get("with"), c.get("codes"), c.get("other", 0.0)) for c in encoder["columns"]
        ]

        coded = [(name, other) for name, other, codes, _ in self._columns if codes is not None]
        self._texts = tuple({text for both in coded for text in both if text is not None})

    @classmethod
    def load(cls, folder: Path) -> "CompiledModel":
        """Read a bundle: `contract.json` and `compiled/` in `folder`.

        Raises:
            FileNotFoundError: a file is missing (ONNX Runtime has an error of its own for that).
        """
        contract = Contract.from_json((folder / "contract.json").read_text())
        compiled = folder / "compiled"
        graph = (compiled / "model.onnx").resolve(strict=True)
        return cls(contract, json.loads((compiled / "encoder.json").read_text()), str(graph))

    def predict_one(self, row: Mapping[str, Any]) -> float:
        """Return the probability of one row of inputs and history; a missing column is a KeyError."""
        return self.predict_many([row])[0]

    def predict_many(self, rows: Iterable[Mapping[str, Any]]) -> list[float]:
        """Return the probability of each row, in order."""
        encoded = [self._encode(derive_row(self._contract, dict(row))) for row in rows]
        if not encoded:
            return []
        scores = self._session.run(self._outputs, {self._input: np.array(encoded, dtype=np.float32)})[0]
        return [float(p) for p in scores[:, self._positive]]

    def _encode(self, row: Mapping[str, Any]) -> list[float]:
        texts = {name: str(row[name]) for name in self._texts}
        encoded = []
        for name, other_name, codes, other in self._columns:
            if codes is None:
                encoded.append(float(row[name]))
            elif other_name is None:
                encoded.append(codes.get(texts[name], other))
            else:
                encoded.append(codes.get(texts[name] + JOINT + texts[other_name], other))
        return encoded
