"""Export boosted trees as the tables of `readmit.inference.tree_tables`.

LightGBM and scikit-learn have binary trees: each leaf is a bit, and a split holds the leaves that
remain when a row takes the other side than the reference. CatBoost has oblivious trees, in which
all nodes of a level share one split: each level is a bit, and together the bits are the number of
the leaf.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

from readmit.inference.tree_tables import FIRST, NUMBER

MAX_LEAVES = 64  # the bits of the largest word
WORDS = (np.uint8, np.uint16, np.uint32, np.uint64)


class TreeFormat(TypedDict):
    """`trees` of `encoder.json`: how a leaf is found and how the sum becomes a probability."""

    leaf: str
    scale: float
    bias: float


class Split(NamedTuple):
    """A split; `bits` remain of its tree when a row takes the other side than the reference."""

    column: int
    threshold: float
    tree: int
    bits: int


@dataclass(frozen=True)
class Leaf:
    """A leaf of a binary tree."""

    value: float


@dataclass(frozen=True)
class Node:
    """A node of a binary tree: rows with `column` <= `threshold` go left."""

    column: int
    threshold: float
    left: "Node | Leaf"
    right: "Node | Leaf"


@dataclass
class Tables:
    """The splits of all trees, and for each tree all of its bits and the values of its leaves."""

    splits: list[Split] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the tables as the arrays of `trees.npz`."""
        largest = max(self.whole)
        word = next(word for word in WORDS if largest <= np.iinfo(word).max)
        max_leaves = max(map(len, self.values))
        padded = [values + [0.0] * (max_leaves - len(values)) for values in self.values]
        column, threshold, tree, bits = zip(*self.splits, strict=True)
        return {
            "column": np.array(column, dtype=np.int32),
            "threshold": np.array(threshold, dtype=np.float64),
            "tree": np.array(tree, dtype=np.int32),
            "bits": np.array(bits, dtype=word),
            "whole": np.array(self.whole, dtype=word),
            "values": np.array(padded),
        }


def export(
    model: ClassifierMixin, encoded: np.ndarray
) -> tuple[dict[str, np.ndarray], TreeFormat] | None:
    """Return the arrays of `trees.npz`, and `trees` of `encoder.json`.

    Return None if the model has no such form.

    Args: model: fitted; LightGBM or histogram boosting with at most 64 leaves, or CatBoost.
            encoded: float32 rows, shape (n, columns), as the model sees them. The most frequent
            value of each column is the reference: a value that agrees with it costs nothing when a
            row is scored.
    """
    reference = np.array([_most_frequent(column) for column in encoded.T], dtype=np.float64)
    if isinstance(model, LGBMClassifier) and model.get_params()["num_leaves"] <= MAX_LEAVES:
        tables = _binary_tables(_lightgbm_trees(model), reference)
        tree_format = TreeFormat(leaf=FIRST, scale=1.0, bias=0.0)
    elif (
        isinstance(model, HistGradientBoostingClassifier)
        and (model.max_leaf_nodes or np.inf) <= MAX_LEAVES
    ):
        trees, bias = hist_boosting_trees(model)
        tables = _binary_tables(trees, reference)
        tree_format = TreeFormat(leaf=FIRST, scale=1.0, bias=bias)
    elif isinstance(model, CatBoostClassifier):
        tables, tree_format = _catboost_tables(model, reference)
    else:
        return None
    return {"reference": reference, **tables.arrays()}, tree_format


def _most_frequent(column: np.ndarray) -> float:
    values, counts = np.unique(column, return_counts=True)
    return float(values[counts.argmax()])


def _lightgbm_trees(model: LGBMClassifier) -> Iterator[Node | Leaf]:
    for tree in model.booster_.dump_model()["tree_info"]:
        yield _lightgbm_node(tree["tree_structure"])


def _lightgbm_node(node: Mapping[str, object]) -> Node | Leaf:
    match node:
        case {"leaf_value": float(value) | int(value)}:
            return Leaf(value)
        case {
            "split_feature": int(column),
            "threshold": float(threshold) | int(threshold),
            "left_child": dict(left),
            "right_child": dict(right),
        }:
            return Node(column, threshold, _lightgbm_node(left), _lightgbm_node(right))
    raise ValueError(f"LightGBM has a node of another form: {sorted(node)}")


def hist_boosting_trees(
    model: HistGradientBoostingClassifier,
) -> tuple[list[Node | Leaf], float]:
    """Return the trees of a fitted model, and its bias.

    This is the only function that reads private attributes of scikit-learn. There is no public
    access to these trees, and the ONNX operator for classifiers rounds their values to float32,
    which is less exact than the tables. A test holds the result against `decision_function`, and
    each registered model is compared with its tables.
    """
    trees = [_hist_boosting_node(predictor.nodes, 0) for (predictor,) in model._predictors]
    return trees, float(model._baseline_prediction.item())


def _hist_boosting_node(nodes: np.ndarray, index: int) -> Node | Leaf:
    node = nodes[index]
    if node["is_leaf"]:
        return Leaf(float(node["value"]))
    return Node(
        column=int(node["feature_idx"]),
        threshold=float(node["num_threshold"]),
        left=_hist_boosting_node(nodes, int(node["left"])),
        right=_hist_boosting_node(nodes, int(node["right"])),
    )


def _binary_tables(trees: Iterable[Node | Leaf], reference: np.ndarray) -> Tables:
    tables = Tables()
    for number, root in enumerate(trees):
        whole = (1 << _n_leaves(root)) - 1
        tables.whole.append(whole)
        values: list[float] = []
        _add_leaves(root, reference, number, tables, values)
        tables.values.append(values)
    return tables


def _n_leaves(node: Node | Leaf) -> int:
    if isinstance(node, Leaf):
        return 1
    return _n_leaves(node.left) + _n_leaves(node.right)


def _add_leaves(
    node: Node | Leaf, reference: np.ndarray, tree: int, tables: Tables, values: list[float]
) -> None:
    """Append the values of the leaves below a node, and the splits on the way.

    The leaves on the side of the reference come first. A split holds all bits but those of that
    side.
    """
    if isinstance(node, Leaf):
        values.append(node.value)
        return
    if reference[node.column] <= node.threshold:
        likely = node.left
        other = node.right
    else:
        likely = node.right
        other = node.left
    begin = len(values)
    _add_leaves(likely, reference, tree, tables, values)
    bits_of_likely = (1 << len(values)) - (1 << begin)
    bits = tables.whole[tree] ^ bits_of_likely
    tables.splits.append(Split(node.column, node.threshold, tree, bits))
    _add_leaves(other, reference, tree, tables, values)


def _catboost_tables(model: CatBoostClassifier, reference: np.ndarray) -> tuple[Tables, TreeFormat]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(path, format="json")
        document = json.loads(path.read_text(encoding="utf-8"))
    float_features = document["features_info"]["float_features"]
    columns = [feature["flat_feature_index"] for feature in float_features]
    tables = Tables()
    for number, tree in enumerate(document["oblivious_trees"]):
        levels = tree["splits"] or ()
        whole = (1 << len(levels)) - 1
        reference_leaf = 0
        for level, split in enumerate(levels):
            column = columns[split["float_feature_index"]]
            border = float(np.float32(split["border"]))  # borders are float32, decimal in JSON
            reference_leaf |= int(reference[column] > border) << level
            tables.splits.append(Split(column, border, number, whole ^ 1 << level))
        tables.whole.append(whole)
        tables.values.append(_by_agreement(tree["leaf_values"], whole, reference_leaf))
    scale, (bias,) = document["scale_and_bias"]
    return tables, TreeFormat(leaf=NUMBER, scale=float(scale), bias=float(bias))


def _by_agreement(leaves: Sequence[float], whole: int, reference_leaf: int) -> list[float]:
    """Number the leaves anew.

    A bit is set where the row agrees with the reference at that level.
    """
    return [leaves[agreement ^ whole ^ reference_leaf] for agreement in range(len(leaves))]
