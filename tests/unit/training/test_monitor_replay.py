"""The monitor over replayed slices: an injected shift alarms, and is right only if a model lost."""

import numpy as np
import pytest

from tests.support.training import make_rows
from training import monitor_replay, rolling_origin
from training.drift import Rule
from training.model_metrics import Bootstrap
from training.rolling_protocol import Protocol
from training.score_store import ScoreStore

N = 12_000
RULE = Rule(threshold=0.1, alpha=0.005, least_rows=200, replicates=250, seed=3)


@pytest.fixture(scope="module")
def protocol(contract, tmp_path_factory):
    rows = rolling_origin.in_order(make_rows(contract, N))
    late = rows.index >= rolling_origin.cuts(N)[6].first
    rows.loc[late, "payer_code"] = "MC"  # a shift in the last four slices
    store = ScoreStore(tmp_path_factory.mktemp("scores"))
    return Protocol(contract, rows, store, Bootstrap(100, 3), lambda text: None)


def scores(protocol, lost_from):
    """The first model ranks by chance from a slice on, the others never."""
    rng = np.random.default_rng(8)
    signal = protocol.y + rng.normal(0, 1, N)
    matrix = np.full((len(protocol.cuts), N), np.nan)
    for cut in protocol.cuts:
        matrix[cut.number, cut.first :] = signal[cut.first :]
    lost = protocol.cuts[lost_from].first
    matrix[0, lost:] = rng.normal(0, 1, N - lost)
    return matrix


@pytest.fixture(scope="module")
def late_loss(protocol):
    return monitor_replay.replay(protocol, scores(protocol, lost_from=8), RULE)


def test_alarms_before_the_loss_are_false_and_then_true(late_loss):
    unchanged, retrained = late_loss
    judgements = [row["judgement"] for row in unchanged["slices"]]
    assert judgements == ["quiet"] * 6 + ["false"] * 2 + ["true"] * 2
    for row in unchanged["slices"][6:]:
        assert row["drifted"] == ["payer_code"]
    assert (unchanged["n_true"], unchanged["n_false"]) == (2, 2)
    assert (unchanged["n_missed"], unchanged["slices_late"]) == (0, 0)
    assert retrained["n_true"] == retrained["n_missed"] == 0  # there is nothing to gain


def test_an_alarm_after_the_loss_is_late(protocol):
    unchanged, _ = monitor_replay.replay(protocol, scores(protocol, lost_from=4), RULE)
    assert (unchanged["n_missed"], unchanged["slices_late"]) == (2, 2)


def test_without_loss_and_alarm_nothing_is_late():
    assert monitor_replay.slices_late(["quiet", "quiet"]) is None
    assert monitor_replay.slices_late(["quiet", "missed"]) == 1
    assert monitor_replay.slices_late(["missed", "false", "missed"]) == 1
