"""A limit on requests per second and caller, in each worker process."""

import time
from collections import OrderedDict

from readmit.client.answer_types import ProblemCode
from serving.problems import Problem

MAX_CALLERS = 10_000  # the caller that was idle longest is forgotten first


class RateLimit:
    """A token bucket per caller: it holds one second's worth, and at least one request."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second  # 0: no limit
        self._shown = int(per_second) if per_second.is_integer() else per_second
        self._size = max(per_second, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, their time

    def check(self, caller: str) -> None:
        """Take a token of the caller.

        Raises:
            Problem: 429 when there is none; Retry-After says in how many seconds there is one.
        """
        now = time.monotonic()
        tokens, filled_at = self._buckets.pop(caller, (self._size, now))
        tokens = min(self._size, tokens + (now - filled_at) * self.per_second)
        is_allowed = tokens >= 1
        self._buckets[caller] = (tokens - is_allowed, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not is_allowed:
            wait = max(1, round((1 - tokens) / self.per_second))
            raise Problem(
                ProblemCode.RATE_LIMITED,
                headers={"Retry-After": str(wait)},
                max_per_second=self._shown,
            )
