"""The documents: their links lead somewhere, and the commands and modules that they name exist."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from readmit.settings import ROOT

# The changelog is left out: it names what earlier releases had.
ROOT_PAGES = ["README.md", "README.es.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES = [*(ROOT / name for name in ROOT_PAGES), *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


# A page begins with its readers, and what they can do afterwards.
PURPOSE = re.compile(r"# [^\n]+\n\n(For [^.]+\. Afterwards you can|Para [^.]+\. Después puede) ")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=attrgetter("name"))
def test_a_page_says_for_whom_it_is(page):
    assert PURPOSE.match(page.read_text()), "begin with: For <whom>. Afterwards you can <what>."


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = page
        if file:
            target = page.parent / file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page):
    text = page.read_text()
    code = "\n".join(re.findall(r"`([^`]+)`", text))
    assert set(re.findall(r"\bmake ([a-z0-9-]+)(?=[` ]|$)", code)) <= TARGETS
    for module in re.findall(r"python -m ((?:bench|k8s|readmit|stack|tour|training)[.\w]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_the_tests_that_hold_a_case_exist():
    page = (ROOT / "docs" / "machines.md").read_text()
    table = page.partition("## Machines that differ")[2].partition("\n## ")[0]
    named = re.findall(r"`((?:unit|contract|integration|e2e)/[\w/]+\.py)`", table)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
