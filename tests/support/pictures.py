"""Pictures of pages, for README and `docs/`."""

import os
from pathlib import Path

from playwright.sync_api import Page

FADE_MS = 1500  # charts fade in


def take(page: Page, name: str) -> None:
    """Save a picture of a page in the folder that READMIT_SCREENSHOTS names.

    Without that variable, do nothing.
    """
    folder = os.environ.get("READMIT_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(FADE_MS)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
