"""The answer of `/explain` in the contract's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui import vocabulary
from ui.form import Field, Value
from ui.messages import Language

MOST = 10


@dataclass(frozen=True)
class Contribution:
    """How much one value moves the score."""

    label: str
    value: str
    effect: float


def contributions(
    explained: Mapping[str, Any], known: Sequence[Field], language: Language
) -> list[Contribution]:
    """Return the strongest contributions first; those that move nothing are left out."""
    fields = {field.name: field for field in known}
    found = [
        _named(each, fields.get(each["feature"]), language) for each in explained["contributions"]
    ]
    moving = [each for each in found if abs(each.effect) > 1e-9]
    return sorted(moving, key=lambda each: -abs(each.effect))[:MOST]


def _named(each: Mapping[str, Any], field: Field | None, language: Language) -> Contribution:
    value: Value = each.get("value", "")
    label = field.label if field else vocabulary.in_words(str(each["feature"]))
    shown = field.caption(value) if field and field.options else vocabulary.value(value, language)
    return Contribution(label, shown, float(each["contribution"]))
