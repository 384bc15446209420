"""Codes of problems: each has a text and a row in docs/serving.md, and pydantic's errors have codes."""

import json
from string import Formatter

import pytest

from readmit.client.answer_types import FieldErrorCode, ProblemCode
from readmit.settings import ROOT
from serving import schema
from serving.problems import FIELD_ERRORS, PROBLEMS, TITLES, Problem
from tests.support.serving import ROW, contract, feature

PAGE = (ROOT / "docs/serving.md").read_text().splitlines()
REQUESTS = schema.build(contract(feature("days", data_type="double precision", default=1.5)))
STAY = ROW | {"days": 2.5}


def params(template):
    return ", ".join(f"`{name}`" for _, name, _, _ in Formatter().parse(template) if name)


def test_every_code_has_a_text_and_a_title():
    assert set(PROBLEMS) == set(ProblemCode)
    assert set(FIELD_ERRORS) == set(FieldErrorCode)
    assert {kind.status for kind in PROBLEMS.values()} == set(TITLES)


def test_the_page_lists_the_codes_with_status_and_parameters():
    rows = []
    for code, kind in PROBLEMS.items():
        text = kind.detail.format_map(Braces())
        rows.append(f"| {kind.status} | `{code}` | {params(kind.detail)} | {text} |")
    begin = PAGE.index("| status | code | parameters | text |") + 2
    assert PAGE[begin : begin + len(rows)] == rows
    assert not PAGE[begin + len(rows)].startswith("|")


def test_the_page_lists_the_codes_of_wrong_fields():
    rows = []
    for code, text in FIELD_ERRORS.items():
        rows.append(f"| `{code}` | {params(text)} | {text.format_map(Braces())} |")
    begin = PAGE.index("| code | parameters | text |") + 2
    assert PAGE[begin : begin + len(rows)] == rows
    assert not PAGE[begin + len(rows)].startswith("|")


class Braces(dict):
    """Shows each parameter by its name."""

    def __missing__(self, name):
        return f"{{{name}}}"


@pytest.mark.parametrize(
    ("change", "field", "code", "expected"),
    [
        ({"n_medications": "x"}, "n_medications", "not_an_integer", {}),
        ({"n_medications": 1.5}, "n_medications", "not_an_integer", {}),
        ({"n_medications": 10**400}, "n_medications", "too_large", {"maximum": 50}),
        ({"n_medications": -1}, "n_medications", "too_small", {"minimum": 0}),
        ({"n_medications": 99}, "n_medications", "too_large", {"maximum": 50}),
        ({"days": "x"}, "days", "not_a_number", {}),
        ({"days": float("nan")}, "days", "not_finite", {}),
        ({"is_medication_changed": "perhaps"}, "is_medication_changed", "not_a_boolean", {}),
        ({"gender": "?"}, "gender", "not_allowed", {}),
        ({"patient_nbr": 2**64}, "patient_nbr", "too_large", {"maximum": 2**63 - 1}),
        ({"contract_hash": 1}, "contract_hash", "not_a_string", {}),
        ({"contract_hash": "x" * 200}, "contract_hash", "too_long", {"max_length": 128}),
        ({"no_such_field": 1}, "no_such_field", "unknown_field", {}),
    ],
)
def test_a_wrong_field_has_a_code_and_parameters(change, field, code, expected):
    row = STAY | change
    with pytest.raises(Problem) as of_json:
        REQUESTS.from_json(json.dumps(row).encode())
    with pytest.raises(Problem) as of_row:
        REQUESTS.from_row(row)
    for problem in (of_json.value, of_row.value):
        [error] = [error for error in problem.errors if error["field"] == field]
        assert (error["code"], error["params"]) == (code, expected)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"[]", "not_an_object"),
        (b"{", "not_json"),
        (b"{}", "required"),
        (b'{"\xff": 1}', "not_json"),
        (b'{"gender": "\\ud800"}', "not_json"),
        (b"null", "not_an_object"),
    ],
)
def test_an_unreadable_body_has_a_code(body, code):
    with pytest.raises(Problem) as caught:
        REQUESTS.from_json(body)
    codes = [error["code"] for error in caught.value.errors]
    assert code in codes
    assert "invalid" not in codes
