"""What a measurement returns, and what it raises when it cannot be made here."""

import operator
from dataclasses import dataclass

COMPARISONS = {"<=": operator.le, ">=": operator.ge}


class CannotMeasure(Exception):
    """Something that the measurement needs is not there; the message says what, and how to get it."""


@dataclass(frozen=True)
class Figure:
    """One measured figure. `goal` reads like `<= 2.5`."""

    name: str
    figure: float
    unit: str
    goal: str
    detail: str

    @property
    def holds(self) -> bool:
        """Tell whether the figure reaches its goal."""
        sign, _, limit = self.goal.partition(" ")
        return bool(COMPARISONS[sign](self.figure, float(limit)))

    def record(self) -> dict[str, object]:
        """Return the entry of build/bench.json."""
        plain = {
            "name": self.name,
            "figure": round(self.figure, 4),
            "unit": self.unit,
            "goal": self.goal,
        }
        return plain | {"holds": self.holds, "detail": self.detail}
