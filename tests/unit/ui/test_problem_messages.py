"""Why there is no answer, in the language of the page."""

import pytest

from readmit.client.api_client import ApiDown, Problem
from ui import language, problem_messages
from ui.examples import IncompleteAnswer

ENGLISH = language.load("en")
SPANISH = language.load("es")
TOO_LARGE = {
    "field": "n_procedures",
    "code": "too_large",
    "params": {"maximum": 6},
    "detail": "must be at most 6",
}
NOT_ALLOWED = {
    "field": "age_band",
    "code": "not_allowed",
    "params": {},
    "detail": "is not one of the allowed values",
    "allowed": ["[0-10)", "b"],
}


def test_a_problem_is_sorted_by_field():
    problem = Problem(422, "Invalid input", "x", [NOT_ALLOWED, TOO_LARGE], "invalid_fields")
    notice = problem_messages.notice(problem, SPANISH)
    assert notice.by_field == {
        "age_band": "no es uno de los valores permitidos (0-9, b)",
        "n_procedures": "debe ser 6 o menos",
    }
    assert notice.summary == SPANISH.problems["invalid_fields"]


def test_long_lists_of_legal_values_are_cut():
    problem = Problem(422, "", "", [{**NOT_ALLOWED, "allowed": list("abcdefgh")}])
    notice = problem_messages.notice(problem, ENGLISH)
    assert notice.by_field["age_band"].endswith("(a, b, c, d, e, f …)")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            Problem(429, "", "at most 5", code="rate_limited", params={"max_per_second": 5}),
            "5 solicitudes por segundo",
        ),
        (Problem(415, "", "send it as it is", code="compressed_body"), "comprimidas"),
        (Problem(502, "Bad Gateway", "<html>Bad gateway</html>"), "con el estado 502"),
        (
            Problem(503, "", "?", code="database_unreachable", params={"error": "Fault"}),
            "la base de datos no responde (Fault)",
        ),
        (ApiDown("http://127.0.0.1:8000: refused"), SPANISH.text("api_down")),
        (IncompleteAnswer(2, 1), "se enviaron 2 filas, pero se recibieron 1 resultados"),
    ],
)
def test_the_reason_is_in_the_language_of_the_page(failure, reason):
    assert reason in problem_messages.reason(failure, SPANISH)


def test_a_code_that_the_form_does_not_know_is_shown_in_the_words_of_the_api():
    error = {"field": "x", "code": "odd", "params": {}, "detail": "is odd"}
    problem = Problem(422, "Odd", "the request is odd", [error], code="odd_request")
    notice = problem_messages.notice(problem, SPANISH)
    assert notice == problem_messages.Notice("the request is odd", {"x": "is odd"})
