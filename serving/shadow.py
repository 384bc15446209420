"""Shadow scoring: a challenger scores what production answered, in the background; nobody waits, nobody sees it."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from serving.bundle_loader import ServedModel
from serving.instruments import Metrics
from serving.problems import Problem
from serving.schema import PredictionRequest, RequestSchema
from serving.standby import StandbyModel, loaded

log = logging.getLogger("serving")
MOST_WAITING = 5_000  # about 10 MB; more are given up and counted as failed
BATCH_ROWS = 500
EVERY_SECONDS = 1.0
FAULTS = (
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)  # whatever a bad model raises


@dataclass(frozen=True)
class ScoredRequest:
    """What production said about one row."""

    requests: RequestSchema
    asked: PredictionRequest
    probability: float
    risk: str


class Shadow:
    """`add` never waits. Without a challenger it does nothing."""

    def __init__(self, challenger: Callable[[], StandbyModel | None], metrics: Metrics) -> None:
        self._challenger, self._metrics = challenger, metrics
        self._waiting: deque[ScoredRequest] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin scoring."""
        self._thread.start()

    def stop(self) -> None:
        """End; what still waits is dropped: the comparison is a sample anyway."""
        self._stop.set()
        self._thread.join(timeout=5)

    def add(self, answered: Iterable[ScoredRequest]) -> None:
        """Queue answers of production for the challenger; without one they are not even made."""
        challenger = self._challenger()
        if challenger is None:
            return
        made = list(answered)
        taken = made[: max(0, MOST_WAITING - len(self._waiting))]
        self._waiting.extend(taken)
        self._count(challenger, "failed", len(made) - len(taken))

    def score(self) -> None:
        """Score all that waits."""
        while self._waiting and not self._stop.is_set():
            batch = [self._waiting.popleft() for _ in range(min(BATCH_ROWS, len(self._waiting)))]
            challenger = loaded(self._challenger())
            if challenger is not None:
                self._compare(challenger, batch)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.score()

    def _compare(self, challenger: ServedModel, batch: list[ScoredRequest]) -> None:
        pairs = [(answered, _row(challenger, answered)) for answered in batch]
        known = [(answered, row) for answered, row in pairs if row is not None]
        try:
            scores = (
                [float(p) for p in challenger.compiled.score([row for _, row in known])]
                if known
                else []
            )
        except FAULTS:
            log.warning(
                "the challenger, version %s, cannot score",
                challenger.version.version,
                exc_info=True,
            )
            known, scores = [], []
        for (answered, _), score in zip(known, scores, strict=True):
            self._note(challenger, answered, score)
        self._count(challenger, "failed", len(batch) - len(known))

    def _note(self, challenger: ServedModel, answered: ScoredRequest, score: float) -> None:
        if not 0 <= score <= 1:  # NaN fails too
            self._count(challenger, "failed")
            return
        risk = "high" if score >= challenger.threshold else "low"
        self._count(challenger, "agree" if risk == answered.risk else "disagree")
        difference = self._metrics["readmit_shadow_score_difference"].labels(
            challenger.version.version
        )
        difference.observe(abs(score - answered.probability))

    def _count(self, challenger: ServedModel | StandbyModel, outcome: str, n: int = 1) -> None:
        if n:
            self._metrics["readmit_shadow_comparisons_total"].labels(
                challenger.version.version, outcome
            ).inc(n)


def _row(challenger: ServedModel, answered: ScoredRequest) -> tuple[Any, ...] | None:
    """Return the row in the challenger's contract, or None when it cannot be mapped."""
    try:
        return challenger.requests.translated(answered.asked, answered.requests).values
    except Problem:
        return None
