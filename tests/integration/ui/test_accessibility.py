"""axe-core on every page of the form and of the docs site, light and dark, in a real Chromium.

dbt's documentation, Great Expectations' reports and the guide's frame (mkdocs-material) are the
work of others, so they are not checked.
"""

import pytest
from playwright.sync_api import expect

from readmit.docs_site import html_pages, publishing
from tests.support import browser as chromium
from tests.support import full_form
from training import card_page

ANSWER_MS = 30_000
BACKGROUNDS = {"light": "rgb(251, 252, 252)", "dark": "rgb(15, 26, 26)"}


@pytest.fixture(scope="module")
def browser():
    with chromium.running() as running:
        yield running


@pytest.fixture(scope="module")
def form_url(tmp_path_factory, contract):
    with full_form.running(tmp_path_factory.mktemp("form"), contract) as url:
        yield url


@pytest.fixture(scope="module")
def form(browser, form_url):
    """One page for all visits: Chromium compiles Streamlit's code once.

    With motion it would draw the whole high page sixty times a second while something loads.
    """
    context = browser.new_context(
        base_url=form_url,
        viewport={"width": 1280, "height": 2600},
        reduced_motion="reduce",
    )
    expect.set_options(timeout=ANSWER_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module", params=BACKGROUNDS)
def scheme(form, request):
    form.goto("about:blank")  # Streamlit draws a page pale while it changes its theme
    form.emulate_media(color_scheme=request.param)
    return request.param


def visit(form, path, scheme):
    form.goto(path)
    chromium.wait_until_drawn(form)
    expect(form.get_by_test_id("stApp")).to_have_css("background-color", BACKGROUNDS[scheme])


@pytest.mark.parametrize("path", ["batch?lang=es", "model", "data"])
def test_a_page_of_the_form_has_no_grave_finding(form, path, scheme):
    visit(form, path, scheme)
    assert chromium.grave_findings(form) == []


def test_an_answer_has_no_grave_finding(form, scheme):
    visit(form, "/", scheme)
    findings = {}
    for example in ("default", "high"):
        form.locator(f".st-key-example-{example} button").click()
        expect(form.locator(".r-score")).to_have_count(0)
        chromium.wait_until_drawn(form)
        form.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
        expect(form.locator(".r-score")).to_be_visible()
        chromium.wait_until_drawn(form)
        findings[example] = chromium.grave_findings(form)
    assert findings == {"default": [], "high": []}


def test_pages_of_the_docs_site_have_no_grave_finding(browser, contract):
    batch = {
        "batch_id": "uci-train-0001",
        "status": "rejected",
        "n_rows": 9_000,
        "n_quarantined": 7,
        "n_excluded": 210,
        "published_at": None,
        "reason": "raw gate: age has values that the code list lacks",
    }
    pages = {
        "index": publishing.index([batch], ["1"], ["2026-02-01"]),
        "empty index": publishing.index([], [], []),
        "dictionary": publishing.dictionary_page(contract),
        "message": html_pages.render(html_pages.TEMPLATES / "message.html.j2", message="Gone"),
        "model": card_page.page("1", "# Model card\n\n## Use\n\nFollow-up.\n", ["calibration"]),
    }
    findings = []
    page = browser.new_page(viewport={"width": 360, "height": 800})
    for name, text in pages.items():
        page.set_content(text)
        findings += [(name, finding) for finding in chromium.grave_findings(page)]
    assert findings == []
    page.close()
