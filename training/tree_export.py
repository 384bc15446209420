"""Take boosted trees apart into the tables of `readmit.inference.tree_tables`."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

from readmit.inference.tree_tables import FIRST, NUMBER

MOST_LEAVES = 64  # the bits of a word
Node = Mapping[str, Any]
Split = tuple[int, float, int, int]  # column, threshold, tree, bits
Parts = tuple[
    list[Split], list[int], list[list[float]], dict[str, Any]
]  # splits, whole, values, how


def take_apart(
    model: ClassifierMixin, encoded: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Return the content of `trees.npz` and `trees` of `encoder.json`, or None if the model has no such form.

    Args:
        model: fitted; LightGBM or histogram boosting with at most 64 leaves, or CatBoost.
        encoded: float32 rows, shape (n, columns), as the model sees them. Their most frequent values become the
            reference: values that agree with it cost nothing when a row is scored.
    """
    reference = np.array([_most_frequent(column) for column in encoded.T], dtype=np.float64)
    if isinstance(model, LGBMClassifier) and model.get_params()["num_leaves"] <= MOST_LEAVES:
        splits, whole, values, how = _lightgbm(model, reference)
    elif (
        isinstance(model, HistGradientBoostingClassifier)
        and (model.max_leaf_nodes or np.inf) <= MOST_LEAVES
    ):
        splits, whole, values, how = _hist_boosting(model, reference)
    elif isinstance(model, CatBoostClassifier):
        splits, whole, values, how = _catboost(model, reference)
    else:
        return None
    return {"reference": reference, **_arrays(splits, whole, values)}, how


def _most_frequent(column: np.ndarray) -> float:
    values, counts = np.unique(column, return_counts=True)
    return float(values[counts.argmax()])


def _arrays(
    splits: Sequence[Split], whole: Sequence[int], values: Sequence[Sequence[float]]
) -> dict[str, np.ndarray]:
    leaves = max(map(len, values))
    column, threshold, tree, bits = zip(*splits, strict=True)
    return {
        "column": np.array(column, dtype=np.int32),
        "threshold": np.array(threshold, dtype=np.float64),
        "tree": np.array(tree, dtype=np.int32),
        "bits": np.array(bits, dtype=_word(max(whole))),
        "whole": np.array(whole, dtype=_word(max(whole))),
        "values": np.array([[*tree, *[0.0] * (leaves - len(tree))] for tree in values]),
    }


def _word(largest: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest word that holds all bits."""
    words: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32, np.uint64)
    return next(word for word in words if largest <= np.iinfo(word).max)


def _lightgbm(model: LGBMClassifier, reference: np.ndarray) -> Parts:
    roots = [tree["tree_structure"] for tree in model.booster_.dump_model()["tree_info"]]
    return (*_binary(roots, reference), {"leaf": FIRST, "scale": 1.0, "bias": 0.0})


def _hist_boosting(model: HistGradientBoostingClassifier, reference: np.ndarray) -> Parts:
    """scikit-learn shows these trees nowhere in public; the comparison at registration would see a change."""
    roots = [_root(predictor.nodes) for (predictor,) in model._predictors]
    return (
        *_binary(roots, reference),
        {"leaf": FIRST, "scale": 1.0, "bias": float(model._baseline_prediction.item())},
    )


def _root(nodes: np.ndarray, at: int = 0) -> Node:
    """Return a tree in the form of LightGBM's."""
    node = nodes[at]
    if node["is_leaf"]:
        return {"leaf_value": float(node["value"])}
    sides = {f"{side}_child": _root(nodes, int(node[side])) for side in ("left", "right")}
    return {
        "split_feature": int(node["feature_idx"]),
        "threshold": float(node["num_threshold"]),
        **sides,
    }


def _binary(
    roots: Sequence[Node], reference: np.ndarray
) -> tuple[list[Split], list[int], list[list[float]]]:
    splits: list[Split] = []
    whole = [(1 << _size(root)) - 1 for root in roots]
    return (
        splits,
        whole,
        [_leaves(root, reference, k, splits, whole[k]) for k, root in enumerate(roots)],
    )


def _size(node: Node) -> int:
    return 1 if "leaf_value" in node else _size(node["left_child"]) + _size(node["right_child"])


def _leaves(
    root: Node, reference: np.ndarray, tree: int, splits: list[Split], whole: int
) -> list[float]:
    """Number the leaves, the side of the reference first; append each split's bits: all but the leaves of that side."""
    values: list[float] = []

    def visit(node: Node) -> None:
        if "leaf_value" in node:
            values.append(node["leaf_value"])
            return
        column, threshold = node["split_feature"], node["threshold"]
        likely, other = "left_child", "right_child"
        if not reference[column] <= threshold:
            likely, other = other, likely
        before = len(values)
        visit(node[likely])
        splits.append((column, threshold, tree, whole ^ (1 << len(values)) - (1 << before)))
        visit(node[other])

    visit(root)
    return values


def _catboost(model: CatBoostClassifier, reference: np.ndarray) -> Parts:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(path, format="json")
        said = json.loads(path.read_text(encoding="utf-8"))
    columns = [each["flat_feature_index"] for each in said["features_info"]["float_features"]]
    splits: list[Split] = []
    whole, values = [], []
    for number, tree in enumerate(said["oblivious_trees"]):
        levels = tree["splits"] or ()
        whole.append((1 << len(levels)) - 1)
        reached = 0
        for level, split in enumerate(levels):
            # Borders are float32; JSON has them in decimal.
            column, border = (
                columns[split["float_feature_index"]],
                float(np.float32(split["border"])),
            )
            reached |= int(reference[column] > border) << level
            splits.append((column, border, number, whole[-1] ^ 1 << level))
        # A leaf's new number: which levels agree with the reference.
        leaves = tree["leaf_values"]
        values.append([leaves[agrees ^ whole[-1] ^ reached] for agrees in range(len(leaves))])
    scale, (bias,) = said["scale_and_bias"]
    return splits, whole, values, {"leaf": NUMBER, "scale": float(scale), "bias": float(bias)}
