"""The answer of `/explain` in the contract's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST = 10


@dataclass(frozen=True)
class Contribution:
    """How much one value moves the score."""

    label: str
    value: str
    effect: float


def contributions(explained: Mapping[str, Any], labels: Mapping[str, str], most: int = MOST) -> list[Contribution]:
    """Return the strongest contributions first; those that move nothing are left out."""
    found = [
        Contribution(labels.get(name, name), str(each.get("value", "")), float(each["contribution"]))
        for name, each in ((each["feature"], each) for each in explained["contributions"])
    ]
    moving = [each for each in found if abs(each.effect) > 1e-9]
    return sorted(moving, key=lambda each: -abs(each.effect))[:most]
