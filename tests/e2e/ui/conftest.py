"""Chromium for the browser tests."""

import pytest

from tests.support import browser as chromium


@pytest.fixture(scope="module")
def browser():
    """Start Chromium for the tests of a file."""
    with chromium.running() as running:
        yield running
