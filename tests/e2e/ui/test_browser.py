"""The main path in a real Chromium: open the form, choose a patient, press Predict, see the
probability and the model.

With `READMIT_SCREENSHOTS` set to a folder, the pictures of the README are made.
"""

import csv
import os
import re
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support import browser as chromium
from tests.support import pictures
from tests.support.services import wait_until
from training import mlflow_tracking, signed_models

ANSWER_MS = 30_000


@pytest.fixture
def previous_version(up, api_url):
    """Number of the previous version that the API holds: production's files, registered again."""
    mlflow = f"{up.settings.mlflow_tracking_uri}/api/2.0/mlflow"
    name = up.settings.model_name

    def call(method: str, path: str, **fields: str) -> dict[str, dict[str, str]]:
        arguments = {"json": fields}
        if method == "GET":
            arguments = {"params": fields}
        response = httpx.request(
            method,
            f"{mlflow}/{path}",
            auth=up.settings.mlflow_login(),
            timeout=30,
            trust_env=False,
            **arguments,
        )
        return response.raise_for_status().json()

    alias = call("GET", "registered-models/alias", name=name, alias="production")
    production = alias["model_version"]
    created = call(
        "POST",
        "model-versions/create",
        name=name,
        source=production["source"],
        run_id=production["run_id"],
        model_id=production["source"].removeprefix("models:/"),  # MLflow 3 needs both
    )
    version = created["model_version"]["version"]
    # The API holds signed versions only; both share their files, and so the statement beside them.
    # Tests that come later in this process must not reach this stack's MLflow and object store.
    with patch.dict(os.environ), mlflow_tracking.reaching(up.settings) as client:
        signed_models.adopt_version(client, name, version, "test", up.settings)
    call("POST", "registered-models/alias", name=name, alias="previous", version=version)

    def is_loaded() -> bool:
        ready = httpx.get(f"{api_url}/readyz", timeout=30, trust_env=False).json()
        return ready["beside"].get("previous", {}).get("version") == version

    wait_until(is_loaded, "the API holds the previous version", 60)
    yield version
    call("DELETE", "registered-models/alias", name=name, alias="previous")
    call("DELETE", "model-versions/delete", name=name, version=version)


@pytest.fixture(scope="module")
def one_page(browser):
    """Open the page of all tests: a new one compiles Streamlit's code anew."""
    with browser.new_context(reduced_motion="reduce") as context:
        yield context.new_page()


@pytest.fixture
def page(one_page):
    """Return that page; after the test it is empty and has forgotten what it kept."""
    yield one_page
    one_page.evaluate("localStorage.clear(); sessionStorage.clear()")
    one_page.mouse.move(0, 0)
    one_page.goto("about:blank")
    one_page.context.clear_cookies()


def open_form(page: Page, url: str, *, width: int = 1280, height: int = 900) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(ANSWER_MS)
    expect.set_options(timeout=ANSWER_MS)
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    chromium.wait_until_drawn(page)


def predict(page: Page) -> None:
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page.locator(".r-score")).to_be_visible()


def take_screenshot(page: Page, name: str) -> None:
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)  # what is loaded later has come
    pictures.take(page, name)


def test_predict_shows_probability_and_model_version(page, ui_url):
    open_form(page, ui_url)
    predict(page)
    assert re.fullmatch(r"\d+\.\d+ %", page.locator(".r-score").inner_text())
    expect(page.get_by_text(re.compile(r"Answered by .+, version \d+"))).to_be_visible()
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()


def test_the_high_risk_example_scores_above_the_low_one(page, ui_url):
    open_form(page, ui_url)
    scores = []
    for name in ("Low risk", "High risk"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(".r-score")).to_have_count(0)
        predict(page)
        scores.append(float(page.locator(".r-score").inner_text().removesuffix(" %")))
    assert scores[0] < scores[1]
    # Such a patient has drivers, and they are drawn.
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.get_by_role("heading", level=1).scroll_into_view_if_needed()
    take_screenshot(page, "predict")


def test_two_versions_stand_side_by_side(page, ui_url, previous_version):
    open_form(page, ui_url)
    predict(page)
    expect(page.get_by_role("heading", name="Two versions side by side")).to_be_visible()
    cards = page.locator(".st-key-compare .r-facts")
    expect(cards).to_have_count(1)
    production, previous = cards.locator("div").all_inner_texts()
    in_service = r"In service, version \d+\n\d+\.\d+ % · (Low|High) risk \([<≥] \d+\.\d+ %\)"
    assert re.fullmatch(in_service, production), production
    assert previous.startswith(f"Previous, version {previous_version}\n"), previous
    assert production.split("\n")[1].split(" %")[0] == page.locator(
        ".r-score"
    ).inner_text().removesuffix(" %")
    expect(
        page.get_by_text(re.compile("put the patient in (the same|different) risk bands?"))
    ).to_be_visible()
    cards.scroll_into_view_if_needed()
    take_screenshot(page, "compare")


def test_nothing_is_fetched_from_elsewhere(browser, ui_url):
    page = browser.new_page()
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.goto(ui_url)
    expect(page.get_by_test_id("stFormSubmitButton")).to_be_visible(timeout=ANSWER_MS)
    assert hosts - {None} == {urlsplit(ui_url).hostname}
    page.close()


def test_a_phone_of_360_pixels_can_use_the_form(page, ui_url):
    open_form(page, f"{ui_url}/?lang=es", width=360, height=800)
    predict(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".r-score").scroll_into_view_if_needed()
    take_screenshot(page, "phone")


def test_the_form_can_be_sent_by_keyboard(page, ui_url):
    open_form(page, ui_url)
    button = page.get_by_test_id("stFormSubmitButton").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".r-score")).to_be_visible()


def test_every_field_has_a_label_for_screen_readers(page, ui_url):
    open_form(page, ui_url)
    expect(page.get_by_test_id("stFormSubmitButton")).to_be_visible()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('form input, [data-testid=stForm] input')]
            .filter(input => input.type !== 'hidden' && !input.labels?.length
                    && !input.getAttribute('aria-label')
                    && !input.getAttribute('aria-labelledby')).length"""
    )
    assert unnamed == 0


def test_entered_values_survive_a_change_of_language(page, ui_url):
    open_form(page, ui_url)
    days = page.get_by_test_id("stNumberInput").locator("input").first
    days.fill("9")
    days.press("Tab")
    page.get_by_test_id("stSidebar").get_by_role("combobox").click()
    page.get_by_role("option", name="Español").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Predecir")
    expect(days).to_have_value("9")


@pytest.mark.parametrize("path", ["predict", "no-such-page", "batch.html"])
def test_any_other_address_leads_to_the_form(page, ui_url, path):
    open_form(page, f"{ui_url}/{path}?lang=es")
    expect(page.get_by_role("heading", level=1)).to_have_text("Predecir")
    expect(page).to_have_url(re.compile(rf"^{re.escape(ui_url)}/(\?.*)?$"))
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.wait_for_function("document.documentElement.lang === 'es'")  # for screen readers


def test_a_file_is_scored_but_for_its_bad_row(page, ui_url):
    open_form(page, f"{ui_url}/batch", height=1230)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the template").click()
    header, usual = Path(download.value.path()).read_text().splitlines()
    bad = usual.replace("Caucasian", "Martian", 1)
    file = {
        "name": "stays.csv",
        "mimeType": "text/csv",
        "buffer": "\n".join([header, usual, bad, usual]).encode(),
    }
    page.locator("input[type=file]").set_input_files(files=[file])
    page.get_by_role("button", name="Score all rows").click()
    expect(page.get_by_text("Rows scored: 2. With errors: 1.")).to_be_visible()
    take_screenshot(page, "batch")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the scored CSV").click()
    with Path(download.value.path()).open(newline="") as scored:
        rows = list(csv.DictReader(scored))
    assert rows[0]["probability"] == rows[2]["probability"] != ""
    assert rows[1]["probability"] == ""
    assert "race" in rows[1]["error"]


@pytest.mark.parametrize(
    ("path", "heading"), [("batch", "Batch"), ("model", "Model"), ("data", "Data")]
)
def test_the_other_pages_open(page, ui_url, path, heading):
    open_form(page, f"{ui_url}/{path}", height=1500)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    if path != "batch":
        take_screenshot(page, path)
