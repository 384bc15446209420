"""The bundle decides which scorer reads it."""

import numpy as np
import pytest

from readmit.inference.scorers import load_scorer
from readmit.inference.tree_tables import TreeScorer

TREES = {"trees": {"leaf": "first", "scale": 1.0, "bias": 0.0}}
# One tree of one split: a value of at most 2 leads to the first leaf.
STUMP = {
    "reference": np.array([1.0]),
    "column": np.array([0], dtype=np.int32),
    "threshold": np.array([2.0]),
    "tree": np.array([0], dtype=np.int32),
    "bits": np.array([0b10], dtype=np.uint8),
    "whole": np.array([0b11], dtype=np.uint8),
    "values": np.array([[-1.0, 1.0]]),
}


def test_tables_are_read_by_the_tree_scorer(tmp_path):
    np.savez_compressed(tmp_path / "trees.npz", **STUMP)
    scorer = load_scorer(tmp_path, TREES)
    assert isinstance(scorer, TreeScorer)
    bin_of = scorer.converter(0)
    low, high = scorer.score([[bin_of(2.0)], [bin_of(2.1)]])
    assert low == pytest.approx(1 / (1 + np.e))
    assert high == pytest.approx(1 / (1 + 1 / np.e))


@pytest.mark.parametrize(
    ("encoder", "name"),
    [(TREES, "trees.npz"), ({"output": "probabilities", "positive": 1}, "model.onnx")],
)
def test_the_missing_file_of_a_scorer_is_named(tmp_path, encoder, name):
    with pytest.raises(FileNotFoundError, match=name):
        load_scorer(tmp_path, encoder)
