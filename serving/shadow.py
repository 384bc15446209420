"""Shadow scoring: a challenger scores what production answered, in the background."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from serving.bundle_loader import ServedModel
from serving.instruments import Metrics
from serving.microbatch import Row
from serving.problems import Problem
from serving.schema import PredictionRequest, RequestSchema
from serving.standby import StandbyModel, loaded

log = logging.getLogger("serving")
MAX_WAITING = 5_000  # about 10 MB; more are dropped and counted as failed
BATCH_ROWS = 500
EVERY_SECONDS = 1.0
STOP_SECONDS = 2.0
# What a broken model may raise.
FAULTS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class ScoredRequest:
    """A request and production's answer."""

    requests: RequestSchema
    request: PredictionRequest
    probability: float
    risk: str


class Shadow:
    """`add` never waits. Without a challenger it does nothing."""

    def __init__(self, challenger: Callable[[], StandbyModel | None], metrics: Metrics) -> None:
        self._challenger = challenger
        self._metrics = metrics
        self._waiting: deque[ScoredRequest] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin scoring."""
        self._thread.start()

    def stop(self) -> None:
        """End; what still waits is dropped: the comparison is a sample."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    def add(self, scored: Iterable[ScoredRequest]) -> None:
        """Queue answers for the challenger; without one the iterable is not consumed."""
        challenger = self._challenger()
        if challenger is None:
            return
        scored_requests = list(scored)
        free = max(0, MAX_WAITING - len(self._waiting))
        self._waiting.extend(scored_requests[:free])
        self._count(challenger.version.version, "failed", len(scored_requests[free:]))

    def score(self) -> None:
        """Score all that waits."""
        while self._waiting and not self._stop.is_set():
            n_rows = min(BATCH_ROWS, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(n_rows)]
            challenger = loaded(self._challenger())
            if challenger is not None:
                self._compare(challenger, batch)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.score()

    def _compare(self, challenger: ServedModel, batch: list[ScoredRequest]) -> None:
        mapped: list[ScoredRequest] = []
        rows: list[Row] = []
        for scored in batch:
            try:
                request = challenger.requests.translated(scored.request, scored.requests)
            except Problem:
                continue  # the challenger's contract cannot hold this request
            mapped.append(scored)
            rows.append(request.values)
        version = challenger.version.version
        scores: list[float] = []
        try:
            if rows:
                scores = [float(score) for score in challenger.compiled.score(rows)]
            if len(scores) != len(rows):
                raise ValueError(f"{len(scores)} scores for {len(rows)} rows")
        except FAULTS:
            log.warning("the challenger, version %s, cannot score", version, exc_info=True)
            scores = []
        self._count(version, "failed", len(batch) - len(scores))
        for scored, score in zip(mapped, scores, strict=False):
            if not 0 <= score <= 1:  # NaN fails too
                self._count(version, "failed", 1)
                continue
            risk = challenger.risk_of(score)
            self._count(version, "agree" if risk == scored.risk else "disagree", 1)
            difference = abs(score - scored.probability)
            self._metrics.histogram("readmit_shadow_score_difference", version).observe(difference)

    def _count(self, version: str, outcome: str, n_rows: int) -> None:
        if n_rows:
            self._metrics.counter("readmit_shadow_comparisons_total", version, outcome).inc(n_rows)
