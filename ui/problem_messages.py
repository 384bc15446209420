"""What a refusal of the API means for the form: what the page says, and which field it marks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from readmit.client.api_client import ApiDown, Problem
from ui import vocabulary
from ui.messages import Language, Messages

CONFLICT = 409
UNAVAILABLE = 503
MOST_ALLOWED = 6


@dataclass(frozen=True)
class Notice:
    """A problem as the page shows it: one line for the page, one line per field."""

    summary: str
    by_field: Mapping[str, str] = field(default_factory=dict)


def said(error: Exception, text: Messages) -> str:
    """Return why there is no answer, in one line."""
    if isinstance(error, ApiDown):
        return text.api_down
    if not isinstance(error, Problem):
        return vocabulary.said(str(error), text.code)
    is_page = error.detail.lstrip().startswith("<")  # a proxy's: its title says more
    return vocabulary.said(error.title if is_page or not error.detail else error.detail, text.code)


def notice(problem: Problem, text: Messages) -> Notice:
    """Return a problem sorted by field; errors without a field stay in the summary."""
    by_field: dict[str, str] = {}
    loose: list[str] = []
    for error in problem.errors:
        if name := error.get("field"):
            by_field.setdefault(name, _said_of(error, text.code))
        else:
            loose.append(_said_of(error, text.code))
    return Notice(" ".join([said(problem, text), *loose]).strip(), by_field)


def _said_of(error: Mapping[str, Any], language: Language) -> str:
    detail = vocabulary.said(str(error.get("detail") or ""), language)
    allowed = error.get("allowed")
    if not allowed or not isinstance(allowed, list):
        return detail
    more = " …" if len(allowed) > MOST_ALLOWED else ""
    return f"{detail} ({', '.join(vocabulary.value(value, language) for value in allowed[:MOST_ALLOWED])}{more})"
