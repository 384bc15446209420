"""`make poison` compares what is published after others' batches are out of the way."""

import pytest

from readmit.settings import StackSettings
from stack import pipeline, poison

OURS = poison.Poisoned("train-001-abcdef01", "rejected", "age", 1_057, "run", "raw_gate")


@pytest.mark.parametrize("waited", [0, 2])
def test_what_waits_is_published_and_trained_on_before_it_compares(monkeypatch, waited):
    seen = [10, 1]  # batches that are published, version in production

    def publish(*_):
        seen[0] += waited
        return waited

    def train(_airflow, _settings, _show, n):
        seen[1] += n > 0

    monkeypatch.setattr(pipeline, "publish_waiting", publish)
    monkeypatch.setattr(pipeline, "train", train)
    monkeypatch.setattr(poison, "stack_settings", StackSettings)
    monkeypatch.setattr(
        poison, "published", lambda _: poison.Published(100 * seen[0], seen[0], 0, str(seen[1]))
    )
    monkeypatch.setattr(poison, "poison", lambda *_: OURS)
    assert poison.main() == 0


def test_a_bad_batch_that_is_published_is_a_failure(monkeypatch):
    monkeypatch.setattr(poison, "settle", lambda *_: None)
    monkeypatch.setattr(poison, "stack_settings", StackSettings)
    monkeypatch.setattr(poison, "published", lambda _: poison.Published(1, 1, 0, "1"))
    monkeypatch.setattr(
        poison, "poison", lambda *_: poison.Poisoned("b", "published", "", 1, "run", "")
    )
    assert poison.main() == 1
