"""A limit on requests per second and caller, in each worker process."""

import time
from ipaddress import IPv6Address, ip_address, ip_network

from readmit.client.answer_types import ProblemCode
from serving.problems import Problem

# What a call costs beyond a request, by the time that it takes beside one.
ROWS_PER_REQUEST = 10  # of a batch
EXPLANATION_REQUESTS = 10  # an explanation scores twice as many rows as the model has fields
MAX_CALLERS = 10_000
OTHERS = ""  # the bucket that callers share for whom there is no room
SWEEP_SECONDS = 1.0


class RateLimit:
    """A token bucket per caller: it holds one second's worth, and at least one request.

    A request needs a token. What it costs beyond that is taken afterwards: the bucket then holds
    less than nothing for a while. Only full buckets are forgotten, so nobody gains by crowding
    others out.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second  # 0: no limit
        self._shown = int(per_second) if per_second.is_integer() else per_second
        self._size = max(per_second, 1.0)
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, their time
        self._swept_at = 0.0

    def check(self, caller: str) -> None:
        """Take a token of the caller.

        Raises:
            Problem: 429 when there is none; Retry-After says in how many seconds there is one.
        """
        now = time.monotonic()
        bucket = self._bucket(caller, now)
        tokens = self._tokens(bucket, now)
        if tokens >= 1:
            self._buckets[bucket] = (tokens - 1, now)
            return
        wait = max(1, round((1 - tokens) / self.per_second))
        raise Problem(
            ProblemCode.RATE_LIMITED,
            headers={"Retry-After": str(wait)},
            max_per_second=self._shown,
        )

    def spend(self, caller: str, n_requests: float) -> None:
        """Take more tokens for a request that was let in: as many as it costs."""
        now = time.monotonic()
        bucket = self._bucket(caller, now)
        self._buckets[bucket] = (self._tokens(bucket, now) - n_requests, now)

    def _tokens(self, bucket: str, now: float) -> float:
        tokens, filled_at = self._buckets.get(bucket, (self._size, now))
        return min(self._size, tokens + (now - filled_at) * self.per_second)

    def _bucket(self, caller: str, now: float) -> str:
        """Return the caller's bucket, or that of all others when there are too many callers."""
        if caller in self._buckets or len(self._buckets) < MAX_CALLERS:
            return caller
        if now - self._swept_at > SWEEP_SECONDS:
            self._swept_at = now
            for bucket in list(self._buckets):
                if self._tokens(bucket, now) >= self._size:
                    del self._buckets[bucket]
        return caller if len(self._buckets) < MAX_CALLERS else OTHERS


def network_of(address: str) -> str:
    """Return what tells callers without keys apart: an IPv6 caller has a whole /64 of them.

    An IPv4 address that is written as IPv6 stays one address: all of those are in one /64.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
