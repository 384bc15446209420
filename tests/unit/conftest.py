"""What unit tests share."""

import gc

import pytest


@pytest.fixture(autouse=True)
def _what_stays_is_looked_at_once(monkeypatch):
    """After each swap the API looks at all that its process holds: 0.1 s there, a second beside all
    test files.
    """
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
