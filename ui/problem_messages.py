"""Why the API refused a request, in the language of the page, and which fields it marks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from readmit.client.answer_types import FieldError, RowError
from readmit.client.api_client import ApiDown, Problem
from ui.examples import IncompleteAnswer
from ui.language import Language

Failure = Problem | ApiDown | IncompleteAnswer
MAX_ALLOWED = 6


@dataclass(frozen=True)
class Notice:
    """A problem as the page shows it: one line for the page, one line per field."""

    summary: str
    by_field: Mapping[str, str] = field(default_factory=dict)


def reason(failure: Failure, language: Language) -> str:
    """Return why there is no answer, in one line."""
    if isinstance(failure, ApiDown):
        return language.text("api_down")
    if isinstance(failure, IncompleteAnswer):
        return language.text("incomplete", sent=failure.sent, received=failure.received)
    if failure.code:
        return language.problem(failure.code, failure.params) or failure.detail
    return language.text("proxy_status", status=failure.status)


def notice(problem: Problem, language: Language) -> Notice:
    """Return a problem sorted by field; of several errors of one field, the first."""
    by_field: dict[str, str] = {}
    for error in problem.errors:
        text = field_error(error, language)
        by_field.setdefault(error["field"], text + _allowed(error, language))
    return Notice(reason(problem, language), by_field)


def field_error(error: FieldError | RowError, language: Language) -> str:
    """Return what is wrong with a field; a code that the form does not know, as the API says it."""
    return language.field_error(error["code"], error["params"]) or error["detail"]


def _allowed(error: FieldError, language: Language) -> str:
    """Return the first legal values of a field in parentheses; empty when there are none."""
    allowed = error.get("allowed", ())
    if not allowed:
        return ""
    values = ", ".join(language.value(value) for value in allowed[:MAX_ALLOWED])
    if len(allowed) > MAX_ALLOWED:
        values += " …"
    return f" ({values})"
