"""What a visitor sees first in each tool, in a real Chromium, beside the pages of the form.

With `READMIT_SCREENSHOTS` set to a folder, the pictures of the guide for examiners are made.
"""

import re
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from stack.programs import reveal
from tests.support import pictures
from training.jobs import EXPERIMENT

SIZE = {"width": 1500, "height": 950}
PATIENCE_MS = 60_000


@pytest.fixture
def page(browser, up):
    """Return a page that is logged in to MLflow; it closes with the test."""
    name, password = up.settings.mlflow_login()
    context = browser.new_context(
        viewport=SIZE,
        http_credentials={"username": name, "password": password},
        reduced_motion="reduce",
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield opened
    context.close()


def log_in_to_airflow(page: Page, up, path: str) -> None:
    address = f"http://127.0.0.1:{up.settings.airflow_port}"
    page.goto(f"{address}/auth/login?next={quote(address + path, safe='')}")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(reveal(up.settings.airflow_admin_password))
    page.get_by_role("button", name=re.compile("sign in|log ?in", re.IGNORECASE)).click()


def test_airflow_shows_the_grid_of_a_batch(page, up):
    log_in_to_airflow(page, up, "/dags/ingest_batch")
    for task in ("load", "raw_gate", "publish_gate"):
        expect(page.get_by_text(task, exact=True).first).to_be_visible()
    pictures.take(page, "airflow")


def test_dbt_docs_open_at_the_lineage(page, docs_url):
    page.goto(docs_url)
    page.get_by_role("link", name=re.compile("^Lineage")).click()
    expect(page.locator("canvas").first).to_be_visible()
    pictures.take(page, "lineage")


def test_the_page_of_a_gate_names_its_expectations(page, docs_url):
    page.goto(docs_url)
    page.get_by_role("link", name="publish gate").first.click()
    expect(page.get_by_text("Expectation Validation Result").first).to_be_visible()
    pictures.take(page, "gate")


def test_the_runs_of_the_experiment_have_an_address(page, up):
    """MLflow's first page leads a new browser to pages for language models, whatever the kind.

    So the README and the guides link to the runs.
    """
    response = httpx.get(
        f"{up.settings.mlflow_tracking_uri}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": EXPERIMENT},
        auth=up.settings.mlflow_login(),
        trust_env=False,
    )
    number = response.raise_for_status().json()["experiment"]["experiment_id"]
    assert number == "1"
    page.goto(f"{up.settings.mlflow_tracking_uri}/#/experiments/{number}/runs")
    expect(page.get_by_text("lightgbm").first).to_be_visible()
    pictures.take(page, "mlflow")


def test_the_registered_model_has_its_card(page, up):
    name = up.settings.model_name
    page.goto(f"{up.settings.mlflow_tracking_uri}/#/models/{quote(name)}")
    expect(page.get_by_text("production").first).to_be_visible()
    pictures.take(page, "registry")


def test_the_api_documents_itself(page, api_url):
    page.goto(f"{api_url}/docs")
    expect(page.get_by_text("/predict", exact=True)).to_be_visible()
    pictures.take(page, "api")
