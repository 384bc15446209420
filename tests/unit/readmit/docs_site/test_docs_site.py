"""Pages of the docs site that need no service."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from readmit.docs_site import dbt_docs, publishing, server
from readmit.settings import DocsSiteSettings
from tests.support import docs_site
from tests.support.services import free_port, wait_until
from tests.support.serving import contract, feature


def test_the_data_dictionary_names_every_feature_and_no_markup_of_the_contract():
    page = publishing.dictionary_page(
        contract(feature("n_visits", description="<script>visits</script>"))
    )
    assert "<table>" in page
    for name in ("n_medications", "diagnosis_1", "n_visits"):
        assert f"<code>{name}</code>" in page
    assert "<script>" not in page


def test_the_index_leads_to_the_dictionary_and_to_drift_reports():
    index = publishing.index([], ["3"], ["2026-11-23"])
    for folder in ("dictionary", "dbt", "models/3", "drift/2026-11-23"):
        assert f'href="{folder}/"' in index


@pytest.mark.parametrize(
    ("status", "reason", "gates"),
    [
        ("published", None, ["raw", "publish"]),
        ("rejected", "raw gate: batch b: <b>gender</b>", ["raw"]),
        ("rejected", "publish gate: batch b: share_quarantined", ["raw", "publish"]),
        ("refused", "a.csv: header (line 1)", []),
    ],
)
def test_the_index_leads_to_the_page_of_each_gate_that_ran(status, reason, gates):
    batch = dict.fromkeys(("n_rows", "n_quarantined", "n_excluded", "data_source", "published_at"))
    index = publishing.index(
        [{**batch, "batch_id": "b", "status": status, "reason": reason}], [], []
    )
    for gate in ("raw", "publish"):
        assert (f'href="gx/b/{gate}.html"' in index) == (gate in gates)
    assert "<b>gender" not in index


def freshness_of(batches, sources):
    """Return the results of `dbt source freshness` for two sources."""
    return [
        {"unique_id": "source.readmit.raw.batches", "status": batches},
        {"unique_id": "source.readmit.raw.sources", "status": sources},
    ]


def test_an_old_source_warns_and_one_beyond_its_limit_fails():
    assert dbt_docs.judged(freshness_of("pass", "warn")) == {
        "raw.batches": "pass",
        "raw.sources": "warn",
    }
    for verdict in ("error", "runtime error"):
        with pytest.raises(dbt_docs.SourcesTooOld, match=r"raw\.batches"):
            dbt_docs.judged(freshness_of(verdict, "pass"))


@pytest.fixture
def keys(monkeypatch):
    """The docs site's own keys of the object store, which is not there."""
    monkeypatch.setenv("READMIT_S3_DOCS_ACCESS_KEY_ID", "docs")
    monkeypatch.setenv("READMIT_S3_DOCS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8088", 200),
        ("10.0.3.7:8088", 200),
        ("docs.example.org", 200),
        ("evil.example:8088", 421),
        ("", 421),
    ],
)
def test_a_name_that_is_not_ours_gets_no_page(host, status):
    """DNS rebinding: a page at evil.example points this name at our address."""
    app = server.create_app(DocsSiteSettings(docs_allowed_hosts="docs.example.org, other"))
    answer = TestClient(app).get("/livez", headers={"host": host})
    assert answer.status_code == status


@pytest.mark.usefixtures("keys")
def test_the_site_ends_at_sigterm():
    """A container's first process gets no signal that it does not catch: its pod would take half a
    minute to stop.
    """
    port = free_port()
    command = [sys.executable, "-m", "readmit.docs_site.server"]
    with subprocess.Popen(command, env=os.environ | {"READMIT_DOCS_PORT": str(port)}) as site:
        try:
            wait_until(
                lambda: docs_site.is_alive(f"http://127.0.0.1:{port}"), "the site does not answer"
            )
            caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{site.pid}/status").read_text())
            assert int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
            site.terminate()
            assert site.wait(timeout=20) == 0
        finally:
            site.kill()
