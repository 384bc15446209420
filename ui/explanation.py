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
    explained: Mapping[str, Any], labels: Mapping[str, str], asked: Sequence[Field], language: Language
) -> list[Contribution]:
    """Return the strongest contributions first; those that move nothing are left out."""
    fields = {field.name: field for field in asked}

    def shown(name: str, value: Value) -> str:
        is_option = name in fields and fields[name].options
        return fields[name].caption(value) if is_option else vocabulary.value(value, language)

    found = [
        Contribution(labels.get(name, name), shown(name, each.get("value", "")), float(each["contribution"]))
        for name, each in ((each["feature"], each) for each in explained["contributions"])
    ]
    moving = [each for each in found if abs(each.effect) > 1e-9]
    return sorted(moving, key=lambda each: -abs(each.effect))[:MOST]
