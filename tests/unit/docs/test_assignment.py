"""The guide for examiners: each file, page and picture that it names exists, in both languages."""

import re
from operator import attrgetter
from urllib.parse import urlsplit

import pytest

from readmit.settings import ROOT, StackSettings

SPANISH = ROOT / "docs" / "assignment.md"
ENGLISH = ROOT / "docs" / "assignment.en.md"
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
PAGE = re.compile(r"<(http[^>]+)>")
COMMAND = re.compile(r"`make ([\w-]+)`")
WEIGHT = re.compile(r"^## .+ \((\d+) %\)$", re.MULTILINE)
PICTURE = re.compile(r"!?\[[^]]+\]\(([^)]+\.png)\)")
DEMAND = re.compile(r"^\|(?: [^|]+ \|){5} \[(?:ver|show)\]\(([^)]+\.png)\) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", [SPANISH, ENGLISH], ids=attrgetter("name"))
def test_every_file_and_page_that_it_names_exists(page):
    text = page.read_text()
    files = FILE.findall(text)
    assert len(files) > 25
    for name in files:
        assert (ROOT / name).exists(), name
    # That commands exist and links lead somewhere is tested for all pages.
    fields = StackSettings.model_fields.items()
    ports = {field.default for name, field in fields if name.endswith("_port")}
    for address in PAGE.findall(text):
        assert urlsplit(address).port in ports, address


def test_the_demands_add_up():
    assert sum(map(int, WEIGHT.findall(SPANISH.read_text()))) == 100


@pytest.mark.parametrize("page", [SPANISH, ENGLISH], ids=attrgetter("name"))
def test_every_demand_has_a_picture(page):
    text = page.read_text()
    demands = text[: text.rindex("\n## C") if page == SPANISH else text.rindex("\n## When")]
    rows = re.findall(r"^\| (?!exigencia|demand).+$", demands, re.MULTILINE)
    assert len(rows) > 20
    assert len(DEMAND.findall(demands)) == len(rows)


@pytest.mark.parametrize("pattern", [FILE, PAGE, COMMAND, WEIGHT, PICTURE])
def test_both_languages_name_the_same(pattern):
    # The Spanish guide shows the form in Spanish.
    spanish = SPANISH.read_text().replace(".es.png)", ".png)")
    assert pattern.findall(spanish) == pattern.findall(ENGLISH.read_text())
