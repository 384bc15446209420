"""Two ways to choose a recipe: each is right when it names the one that the next slice prefers."""

import numpy as np
import pytest

from tests.support.training import make_rows
from training import deciders, rolling_origin
from training.model_metrics import Bootstrap
from training.rolling_protocol import Protocol
from training.score_store import ScoreStore

N = 8_000


@pytest.fixture(scope="module")
def protocol(contract, tmp_path_factory):
    rows = rolling_origin.in_order(make_rows(contract, N))
    store = ScoreStore(tmp_path_factory.mktemp("scores"))
    return Protocol(contract, rows, store, Bootstrap(100, 3), lambda text: None)


def test_a_recipe_that_only_looks_good_on_mixed_years_is_found_by_time(protocol):
    """`mixed` ranks well by folds, which know later stays, and by chance on later slices."""
    rng = np.random.default_rng(1)
    good = protocol.y + rng.normal(0, 1, N)
    better = protocol.y + rng.normal(0, 0.3, N)
    chance = rng.normal(0, 1, N)
    matrices = {"steady": np.tile(good, (10, 1)), "mixed": np.tile(chance, (10, 1))}
    (judged,) = deciders.judge(protocol, matrices, {"steady": good, "mixed": better})
    assert judged["recipes"] == ["steady", "mixed"]
    assert (judged["n_cuts"], judged["right_by_time"], judged["right_by_patients"]) == (9, 9, 0)
    assert judged["error_by_time"] < judged["error_by_patients"]


def test_later_rows_change_no_earlier_choice(protocol):
    rng = np.random.default_rng(2)
    first, second = (np.tile(protocol.y + rng.normal(0, 1, N), (10, 1)) for _ in range(2))
    folds = {"a": first[0], "b": second[0]}
    before = deciders.judge(protocol, {"a": first, "b": second}, folds)
    changed = {name: values.copy() for name, values in folds.items()}
    last = protocol.cuts[-1].first
    changed["a"][last:] = rng.normal(0, 1, N - last)
    after = deciders.judge(protocol, {"a": first, "b": second}, changed)
    assert before == after  # the last choice is made before the last slice
