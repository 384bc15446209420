"""The guide: MkDocs builds it, it loads nothing from elsewhere, and the docs site serves it."""

import os
import re
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from readmit.docs_site import server
from readmit.settings import ROOT, DocsSiteSettings

SOURCES = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md")]
# What a browser fetches by itself; links that a reader follows may lead anywhere.
FETCHED = re.compile(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="([^"]+)"')


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    return folder


def client(folder):
    settings = DocsSiteSettings(
        docs_allowed_hosts="testserver",
        s3_docs_access_key_id="reads the bucket, which the guide does not use",
        s3_docs_secret_access_key="x",
    )
    return TestClient(server.create_app(settings, folder))


@pytest.fixture(scope="module")
def site(guide):
    return client(guide)


def test_every_page_of_the_repository_is_in_it(guide):
    for source in SOURCES:
        page = guide / source.relative_to(ROOT / "docs").with_suffix(".html")
        assert page.is_file(), source
    for name in ("index", "CONTRIBUTING", "SECURITY", "CHANGELOG", "adr/index"):
        assert (guide / f"{name}.html").is_file()


def test_no_page_loads_anything_from_elsewhere(guide):
    pages = list(guide.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        for address in FETCHED.findall(page.read_text()):
            assert not re.match(r"(https?:)?//", address), f"{page.name}: {address}"


def test_every_page_has_the_icon_of_the_docs_site(guide):
    icon = (ROOT / "readmit" / "docs_site" / "assets" / "favicon.png").read_bytes()
    assert (guide / "favicon.png").read_bytes() == icon
    assert '<link rel="icon" href="favicon.png">' in (guide / "index.html").read_text()


def test_only_pages_with_a_diagram_load_mermaid(guide):
    for page in guide.rglob("*.html"):
        text = page.read_text()
        assert ('class="mermaid"' in text) == ("javascripts/mermaid.min.js" in text), page.name


def test_the_docs_site_serves_it(site):
    answer = site.get("/guide/")
    assert answer.status_code == 200
    assert "<h1" in answer.text
    assert answer.headers["content-security-policy"] == server.GUIDE_POLICY
    assert site.get("/guide/search/search_index.json").json()["docs"]
    assert site.get("/guide", follow_redirects=False).headers["location"].endswith("guide/")


@pytest.mark.parametrize("path", ["nothing.html", "../README.md", "%2e%2e/.env", "..%2f..%2f.env"])
def test_an_unknown_path_is_a_page_that_says_so(site, path):
    answer = site.get(f"/guide/{path}")
    assert answer.status_code in (404, 503)
    assert "PASSWORD=" not in answer.text


def test_without_a_build_the_page_says_how_to_make_one(tmp_path):
    answer = client(tmp_path / "none").get("/guide/")
    assert (answer.status_code, "make guide" in answer.text) == (404, True)
