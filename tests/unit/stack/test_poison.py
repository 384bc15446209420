"""`make poison` publishes the waiting batches before it compares what is published."""

import pytest

from readmit.settings import StackSettings
from stack import pipeline, poison
from stack.outcomes import Outcome

OURS = poison.Poisoned("train-001-abcdef01", "rejected", "age", 1_057, "run", "raw_gate")


@pytest.mark.parametrize("training", [[], [{"dag_run_id": "t", "state": "running"}]])
@pytest.mark.parametrize("n_waiting", [0, 2])
def test_waiting_batches_are_published_and_trained_on_before_it_compares(
    monkeypatch, capsys, n_waiting, training
):
    monkeypatch.setattr(poison.Airflow, "active", lambda *_: training)
    state = {"batches": 10, "version": 1}

    def publish(*_):
        state["batches"] += n_waiting
        return [Outcome("train-001-0", "batch", "published", "")] * n_waiting

    def train(_airflow, _settings, _show, n_published):
        if n_published > 0:
            state["version"] += 1

    def published(_):
        batches = state["batches"]
        return poison.Published(100 * batches, batches, 0, str(state["version"]))

    monkeypatch.setattr(pipeline, "publish_waiting", publish)
    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr(poison, "stack_settings", StackSettings)
    monkeypatch.setattr(poison, "published", published)
    monkeypatch.setattr(poison, "poison", lambda *_: OURS)
    assert poison.main() == 0
    assert ("A training runs." in capsys.readouterr().out) == bool(training)


def test_a_bad_batch_that_is_published_is_a_failure(monkeypatch):
    bad_batch = poison.Poisoned("b", "published", "", 1, "run", "")
    monkeypatch.setattr(poison, "settle", lambda *_: None)
    monkeypatch.setattr(poison, "stack_settings", StackSettings)
    monkeypatch.setattr(poison, "published", lambda _: poison.Published(1, 1, 0, "1"))
    monkeypatch.setattr(poison, "poison", lambda *_: bad_batch)
    assert poison.main() == 1
