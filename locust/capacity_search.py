"""The search for the maximum number of users: steps up, then bisection. Knows nothing of Locust."""

from collections.abc import Callable
from dataclasses import dataclass

P95_MS = 250.0
ERROR_SHARE = 0.001
GENERATOR_CPU = 0.9
MACHINE_CPU = 0.95


@dataclass(frozen=True)
class Step:
    """What was measured with a number of users.

    CPU in cores, the generator's per generator process; `machine_cpu` is the share of its machine's
    cores in use.
    """

    users: int
    rate: float  # requests/s
    p95_ms: float
    error_share: float
    generator_cpu: float
    api_cpu: float | None = None
    machine_cpu: float = 0.0

    @property
    def holds(self) -> bool:
        """Tell whether the SLO holds. A step without requests holds nothing."""
        return self.rate > 0 and self.p95_ms <= P95_MS and self.error_share <= ERROR_SHARE

    @property
    def is_generator_busy(self) -> bool:
        """Tell whether the generator may be what is slow."""
        return self.generator_cpu >= GENERATOR_CPU

    @property
    def is_machine_full(self) -> bool:
        """Tell whether the API may have had less CPU than it could use."""
        return self.machine_cpu >= MACHINE_CPU


@dataclass(frozen=True)
class SearchResult:
    """The best step that holds (None: not even one user), and what stopped the search.

    `limit` is slo, generator, machine or most_users (explained in docs/load.md).
    """

    best: Step | None
    limit: str
    steps: tuple[Step, ...]

    @property
    def users(self) -> int:
        """Return the maximum users."""
        return self.best.users if self.best else 0


Measure = Callable[[int], Step]


def find(
    measure: Measure,
    *,
    start: int,
    growth: float = 2.0,
    precision: float = 0.05,
    most_users: int = 50_000,
) -> SearchResult:
    """Return the knee: the most users for which the SLO holds, to `precision`.

    Args:
        measure: runs a step with so many users.
        start: users of the first step.
        growth: factor between steps until one fails (or, when the first fails, until one holds).
        precision: the bisection ends when the bracket is this narrow.
        most_users: a number of users that is never exceeded.
    """
    steps: list[Step] = []

    def attempt(users: int) -> Step:
        steps.append(measure(users))
        return steps[-1]

    low, high = _bracket(attempt, start, growth, most_users)
    while low and high and high.users - low.users > max(1, precision * low.users):
        middle = attempt((low.users + high.users) // 2)
        if middle.holds:
            low = middle
        else:
            high = middle
    return SearchResult(low, _limit(high), tuple(steps))


def _bracket(
    attempt: Measure, start: int, growth: float, most_users: int
) -> tuple[Step | None, Step | None]:
    """Return a step that holds and a step above it that does not; each may be None."""
    step = attempt(min(start, most_users))
    high: Step | None = None
    while not step.holds:
        high = step
        if step.users <= 1:
            return None, high
        step = attempt(max(1, int(step.users / growth)))
    if high is not None:
        return step, high
    while step.users < most_users:
        above = attempt(min(most_users, max(step.users + 1, int(step.users * growth))))
        if not above.holds:
            return step, above
        step = above
    return step, None


def _limit(failed: Step | None) -> str:
    if failed is None:
        return "most_users"
    # Too slow while the generator or the machine had no CPU left says nothing about the API.
    if failed.is_generator_busy:
        return "generator"
    if failed.is_machine_full:
        return "machine"
    return "slo"


def spread(users: list[int]) -> float:
    """Return how far the searches lie apart: (largest - smallest) / median."""
    ordered = sorted(users)
    middle = ordered[len(ordered) // 2]
    if not middle:
        return float("inf")
    return (ordered[-1] - ordered[0]) / middle
