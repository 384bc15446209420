"""The compiled form of a registered model: column encodings and a scorer.

A bundle is a folder with `contract.json` and `compiled/`. That folder holds `encoder.json` and the
file of its scorer: `model.onnx`, or `trees.npz` for boosted trees. `encoder.json`:

    {"format": 1, "output": "probabilities", "positive": 1, "columns": [
        {"name": "race", "codes": {"Caucasian": 0.0}, "other": -1.0},
        {"name": "race", "with": "gender", "codes": {...}, "other": 11.0},
        {"name": "n_medications"}]}

Each column becomes one float, in the order of the list. A column with `codes` is a category: the
text of its value leads to the float, `other` stands for a text that is not listed. With `with` it
is a pair of categories, whose texts are joined by JOINT. A column without `codes` is a number or a
flag. Wider encodings (one-hot) are inside the graph. `output` and `positive` belong to the graph
(`OnnxScorer`); trees have `trees` in their place (`TreeSettings`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from readmit.contract.definition import Contract
from readmit.contract.derivation import Row, tuple_getter
from readmit.inference.encoding import Column, Encoder
from readmit.inference.scorers import EncoderDocument, Scorer, load_scorer

FORMAT = 1


class CompiledModel:
    """Scores rows of inputs and history. Derived features are computed from the contract's rules.

    Args:
        contract: has the rules.
        columns: `columns` of `encoder.json`.
        scorer: reads the encoded columns.
    """

    def __init__(self, contract: Contract, columns: Sequence[Column], scorer: Scorer) -> None:
        self._encode = Encoder(contract, columns, scorer.converter)
        self._scorer = scorer
        self._base_values = tuple_getter(contract.base_names)

    @classmethod
    def load(cls, folder: Path) -> "CompiledModel":
        """Read a bundle.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: the encoder has a format that this code does not read.
        """
        contract = Contract.from_json((folder / "contract.json").read_text())
        compiled = folder / "compiled"
        encoder: EncoderDocument = json.loads((compiled / "encoder.json").read_text())
        if encoder["format"] != FORMAT:
            raise ValueError(
                f"encoder.json has format {encoder['format']}, this runtime reads {FORMAT}"
            )
        return cls(contract, encoder["columns"], load_scorer(compiled, encoder))

    def score(self, rows: Sequence[Row]) -> list[float]:
        """Return the probability of each row; a row has the values of `contract.base_names`."""
        if not rows:
            return []
        return self._scorer.score([self._encode(row) for row in rows])

    def predict_many(self, rows: Iterable[Mapping[str, object]]) -> list[float]:
        """Return the probability of each row of inputs and history by name.

        Raises:
            KeyError: a row lacks a value.
        """
        return self.score([self._base_values(row) for row in rows])

    def predict_one(self, row: Mapping[str, object]) -> float:
        """Return the probability of one row of inputs and history by name."""
        return self.predict_many([row])[0]
