"""Limits on the size of request bodies: of one, and of all that are in memory together.

Files for the inbox are on disk instead, so they have a limit of their own.
"""

from readmit.client.answer_types import ProblemCode
from serving.problems import Problem

MAX_LARGE_BODIES = 4  # so many of the largest size may be in memory together
# Enough for any single stay, ten times over. A body of this size always passes, and no other route
# than the batch takes a larger one: what is wrong with it costs at most some megabytes to list.
SMALL_BYTES = 65_536
UPLOAD_PATH = "/submit"
LARGE_BODY_PATHS = ("/predict/batch", UPLOAD_PATH)


class BodyLimit:
    """Counts the bytes of the bodies of all requests that are being answered."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    def max_bytes(self, path: str) -> int:
        """Return the size of the largest body that a route takes."""
        if path in LARGE_BODY_PATHS:
            return self._max_bytes
        return min(SMALL_BYTES, self._max_bytes)

    def check_length(self, content_length: bytes, path: str) -> None:
        """Refuse a request by what its Content-Length announces, before its body is read.

        Raises:
            Problem: 413.
        """
        max_bytes = self.max_bytes(path)
        if content_length.isdigit() and int(content_length) > max_bytes:
            raise _too_large(max_bytes)

    def add(self, n_bytes: int, *, of_request: int, max_bytes: int) -> None:
        """Count bytes that arrived.

        Args:
            n_bytes: their number.
            of_request: the size of the request's body so far.
            max_bytes: the largest body that its route takes.

        Raises:
            Problem: 413 when the body is too large, 503 when all bodies together are.
        """
        self._held_bytes += n_bytes
        if of_request > max_bytes:
            raise _too_large(max_bytes)
        if of_request > SMALL_BYTES and self._held_bytes > MAX_LARGE_BODIES * self._max_bytes:
            raise Problem(
                ProblemCode.MEMORY_LIMIT,
                headers={"Retry-After": "1"},
                held_bytes=self._held_bytes,
            )

    def release(self, n_bytes: int) -> None:
        """Forget the body of a request that was answered."""
        self._held_bytes -= n_bytes


def _too_large(max_bytes: int) -> Problem:
    return Problem(ProblemCode.BODY_TOO_LARGE, max_bytes=max_bytes)
