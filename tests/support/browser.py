"""Debian's Chromium, and axe-core in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
GRAVE = ("serious", "critical")


@contextmanager
def running() -> Iterator[Browser]:
    """Start Chromium.

    Playwright's event loop runs until it ends: no other test of the process can have one.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def wait_until_drawn(page: Page) -> None:
    """Wait until Streamlit has drawn the whole page: until then it may replace what is typed."""
    expect(page.locator(".st-key-disclaimer")).to_be_visible()  # the end of every page
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    # What waits to be drawn again is pale.
    expect(page.locator("[data-stale=true]")).to_have_count(0)
    # What is still loading has a grey shape in its place.
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    # Streamlit loads what runs our script late, after the button that the script names.
    upload = page.locator("[data-testid=stFileUploaderDropzone] button")
    expect(upload.and_(page.locator(":not([aria-label])"))).to_have_count(0)


def grave_findings(page: Page) -> list[str]:
    """Return what axe-core calls serious or critical on a page, with the elements."""
    # What has just been drawn may still be fading in, and pale.
    page.wait_for_function("document.getAnimations().length === 0")
    findings = []
    for violation in Axe().run(page).response["violations"]:
        # Headings that skip a level are "moderate" to axe; readers who go by headings get lost.
        if violation["impact"] in GRAVE or violation["id"] in (
            "heading-order",
            "landmark-one-main",
        ):
            elements = [node["html"][:200] for node in violation["nodes"][:5]]
            findings.append(f"{violation['id']}: {violation['help']}: {elements}")
    return findings
