"""The report of one run of the monitor."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from training.drift import Shift
from training.realised import Realised

Verdict = Literal["drift", "no drift", "too few"]


@dataclass(frozen=True)
class DriftReport:
    """What one run of the monitor measured.

    `inputs`, `history` and `score` are None when there are too few requests. `names` are all
    features that are compared.
    """

    version: str
    made_at: datetime
    n_reference: int
    n_requests: int
    n_with_history: int
    names: list[str]
    inputs: list[Shift] | None
    history: list[Shift] | None
    score: list[Shift] | None
    realised: list[Realised]

    @property
    def features(self) -> list[Shift]:
        """All features that were compared, largest distance first."""
        shifts = [*(self.inputs or []), *(self.history or [])]
        return sorted(shifts, key=lambda shift: -shift.distance)

    @property
    def verdict(self) -> Verdict:
        """Drift of any feature or of the score is drift."""
        if self.inputs is None:
            return "too few"
        if any(shift.drifted for shift in [*self.features, *(self.score or [])]):
            return "drift"
        return "no drift"

    def evidence(self) -> dict[str, object]:
        """Return the report as JSON, without the shares of single values, which its page shows."""
        return {
            "n_reference": self.n_reference,
            "n_with_history": self.n_with_history,
            "features": [_brief(shift) for shift in self.features],
            "score": [_brief(shift) for shift in self.score or []],
            "realised": [asdict(performance) for performance in self.realised],
        }


def _brief(shift: Shift) -> dict[str, object]:
    return {
        "name": shift.name,
        "distance": shift.distance,
        "by_chance": shift.by_chance,
        "p": shift.p,
        "drifted": shift.drifted,
    }
