"""The result of a measurement, and the error of one that cannot be made on this machine."""

import operator
from dataclasses import dataclass

COMPARISONS = {"<=": operator.le, ">=": operator.ge}


class CannotMeasure(Exception):
    """Something that the measurement needs is missing; the message says what, and how to get it."""


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
        return {
            "name": self.name,
            "figure": round(self.figure, 4),
            "unit": self.unit,
            "goal": self.goal,
            "holds": self.holds,
            "detail": self.detail,
        }
