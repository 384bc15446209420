"""The form against the contract that dbt has now, and against the request schema that the API makes
of it.
"""

import re

import pytest

from serving import schema
from ui import batch_file, examples, form
from ui import language as languages

# Codes of the file.
PAYERS = {
    *("BC", "CH", "CM", "CP", "DM", "FR", "HM", "MP"),
    *("OG", "OT", "PO", "SI", "SP", "UN", "WC"),
}
NAMES = {"MC · Medicare", "MD · Medicaid", "DCPTEAM", "HbA1c", "Miglitol", "Citoglipton"}
SAME_IN_SPANISH = {
    "Carcinoma in situ",
    "Candidiasis",
    "Diabetes mellitus",
    "Normal",
    "Septicemia",
    "Tuberculosis",
}
FIGURES = re.compile(r"[<>]?\d+(-\d+)?")
ENGLISH = re.compile(
    r"\b(the|of|and|with|is|not|for|to|from|or|at|by|other|unspecified)\b", re.IGNORECASE
)


def fields_of(contract, code):
    return form.fields(contract.features, contract.seeds.__getitem__, languages.load(code))


@pytest.fixture(params=["en", "es"])
def fields(contract, request):
    return fields_of(contract, request.param)


def test_every_input_has_a_label_a_group_and_a_legal_default(contract, fields):
    assert [field.name for field in fields] == [feature.name for feature in contract.inputs]
    for field in fields:
        assert field.label
        assert field.group, field.name
        assert not field.options or field.default in field.options, field.name


def test_the_api_takes_what_the_form_and_the_template_send(contract, fields):
    requests = schema.build(contract)
    for row in examples.variations(fields, 30):
        assert requests.from_row(row).values
    template = batch_file.read(batch_file.template(fields).encode(), fields)
    assert requests.from_row(batch_file.typed(next(template.rows()).cells, fields)).values


def texts(fields, labels):
    """Return all that the form shows, in order; a code stands before its description."""
    for field in fields:
        yield from (field.label, field.help, field.group, field.unit)
        for caption in field.captions:
            yield re.sub(r"^[VE]?\d+(\.\d+)? · ", "", caption)
    yield from labels.values()


def test_all_that_the_form_shows_has_spanish(contract):
    texts_by_language = []
    for code in languages.CODES:
        labels = form.labels(contract.features, languages.load(code))
        texts_by_language.append(list(texts(fields_of(contract, code), labels)))
    english, spanish = texts_by_language
    same = set()
    for text, translated in zip(english, spanish, strict=True):
        if text == translated and not FIGURES.fullmatch(text):
            same.add(text)
        assert not ENGLISH.search(translated)
    assert same - PAYERS - NAMES - SAME_IN_SPANISH == {""}  # no unit


def test_the_form_offers_no_discharge_by_death_or_to_a_hospice(fields):
    [disposition] = [field for field in fields if field.name == "discharge_disposition_id"]
    assert len(disposition.captions) == 24
    for caption in disposition.captions:
        assert not re.search("expired|hospice|fallecid|paliativos", caption, re.IGNORECASE)
