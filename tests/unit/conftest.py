"""Fixtures of the unit tests."""

import gc

import pytest


@pytest.fixture(autouse=True)
def _no_unfreeze(monkeypatch):
    """After each swap the API has the garbage collector walk over all objects of the process.

    That takes 0.1 s in the API, but a second in a process that holds all test files.
    """
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
