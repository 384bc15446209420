"""The estimate of the remaining time."""

from rich.console import Console

from stack import progress
from stack.progress import Progress


def test_the_estimate_counts_the_remaining_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress(Console(quiet=True), {"start": 40, "batches": 100, "training": 60})
    assert shown.seconds_left() == 200
    with shown.phase("start"):
        now[0] = 30
        assert shown.seconds_left() == 170
        now[0] = 90  # slower than expected: what follows is still to come
        assert shown.seconds_left() == 160
    assert shown.seconds_left() == 160
    shown.expect("batches", 20)
    with shown.phase("batches"):
        now[0] = 100
        assert shown.seconds_left() == 70
    assert shown.seconds_left() == 60
    assert shown.bar().count("━") == round(24 * 100 / 160)
    assert "about 1:00 left" in shown.bar()


def test_without_expectations_there_is_no_bar():
    assert Progress(Console(quiet=True)).bar() == ""
