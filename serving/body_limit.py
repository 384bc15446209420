"""Limits on the size of request bodies: of one, and of all that are in memory together."""

from readmit.client.answer_types import ProblemCode
from serving.problems import Problem

MAX_LARGE_BODIES = 4  # so many of the largest size may be in memory together
SMALL_BYTES = 65_536  # a body of this size always passes: single stays are never refused


class BodyLimit:
    """Counts the bytes of the bodies of all requests that are being answered."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    def check_length(self, content_length: bytes) -> None:
        """Refuse a request by what its Content-Length announces, before its body is read.

        Raises:
            Problem: 413.
        """
        if content_length.isdigit() and int(content_length) > self._max_bytes:
            raise self._too_large()

    def add(self, n_bytes: int, *, of_request: int) -> None:
        """Count bytes that arrived; `of_request` is the size of the request's body so far.

        Raises:
            Problem: 413 when the body is too large, 503 when all bodies together are.
        """
        self._held_bytes += n_bytes
        if of_request > self._max_bytes:
            raise self._too_large()
        if of_request > SMALL_BYTES and self._held_bytes > MAX_LARGE_BODIES * self._max_bytes:
            raise Problem(
                ProblemCode.MEMORY_LIMIT,
                headers={"Retry-After": "1"},
                held_bytes=self._held_bytes,
            )

    def release(self, n_bytes: int) -> None:
        """Forget the body of a request that was answered."""
        self._held_bytes -= n_bytes

    def _too_large(self) -> Problem:
        return Problem(ProblemCode.BODY_TOO_LARGE, max_bytes=self._max_bytes)
