"""What an RFC 9457 problem means for the form: which field it marks, and what the page says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONFLICT = 409
UNAVAILABLE = 503


@dataclass(frozen=True)
class Notice:
    """A problem as the page shows it: one line for the page, one line per field."""

    status: int
    summary: str
    by_field: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_conflict(self) -> bool:
        """The form no longer fits the model."""
        return self.status == CONFLICT


def notice(status: int, summary: str, errors: Sequence[Mapping[str, Any]]) -> Notice:
    """Return a problem sorted by field; errors without a field stay in the summary."""
    by_field: dict[str, str] = {}
    loose: list[str] = []
    for error in errors:
        name, said = _field_of(error), _said(error)
        if name:
            by_field.setdefault(name, said)
        else:
            loose.append(said)
    return Notice(status, " ".join([summary, *loose]).strip(), by_field)


def _field_of(error: Mapping[str, Any]) -> str:
    name = error.get("field") or error.get("pointer") or ""
    return str(name).removeprefix("#").strip("/").split("/")[-1].removeprefix("body.")


def _said(error: Mapping[str, Any]) -> str:
    detail = str(error.get("detail") or error.get("message") or error.get("reason") or "")
    allowed = error.get("allowed") or error.get("allowed_values")
    if not allowed or not isinstance(allowed, list):
        return detail
    shown = ", ".join(str(value) for value in allowed[:6]) + (" …" if len(allowed) > 6 else "")
    return f"{detail} ({shown})" if shown not in detail else detail
