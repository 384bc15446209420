"""The codes of the API, against the words that the form has for them in both languages."""

import json
from string import Formatter

import pytest

from readmit.client.answer_types import FieldErrorCode, ProblemCode
from serving import schema
from serving.problems import FIELD_ERRORS, PROBLEMS, Problem
from tests.support.serving import ROW, contract
from ui import language as languages


@pytest.fixture(params=languages.CODES)
def language(request):
    return languages.load(request.param)


def parameters(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_problem_has_words_with_the_same_parameters(language):
    assert set(language.problems) == set(ProblemCode) == set(PROBLEMS)
    for code, kind in PROBLEMS.items():
        assert parameters(language.problems[code]) == parameters(kind.detail), code


def test_every_field_error_has_words_with_the_same_parameters(language):
    assert set(language.field_errors) == set(FieldErrorCode) == set(FIELD_ERRORS)
    for code, detail in FIELD_ERRORS.items():
        assert parameters(language.field_errors[code]) == parameters(detail), code


@pytest.mark.parametrize(
    "change",
    [
        {"n_medications": "x"},
        {"n_medications": -1},
        {"n_medications": 99},
        {"n_medications": 1.5},
        {"gender": "?"},
        {"gender": 3},
        {"is_medication_changed": "perhaps"},
        {"patient_nbr": 2**64},
        {"contract_hash": 1},
        {"contract_hash": "x" * 200},
        {"no_such_field": 1},
        {"contract_hash": "older", "gender": "?"},
    ],
)
def test_the_parameters_of_real_errors_fill_the_words(change, language):
    with pytest.raises(Problem) as caught:
        schema.build(contract()).from_json(json.dumps({**ROW, **change}).encode())
    problem = caught.value
    assert language.problem(problem.code, problem.params)
    assert problem.errors
    for error in problem.errors:
        assert "{" not in language.field_error(error["code"], error["params"])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"\xff": 1}'])
def test_unreadable_requests_have_words_too(body, language):
    with pytest.raises(Problem) as caught:
        schema.build(contract()).from_json(body)
    for error in caught.value.errors:
        assert language.field_error(error["code"], error["params"])
