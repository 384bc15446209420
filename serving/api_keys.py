"""API keys, stored as their sha256."""

import hashlib
import hmac

from readmit.client.answer_types import ProblemCode
from serving.problems import Problem


class ApiKeys:
    """Checks keys; without accepted hashes every request passes."""

    def __init__(self, hashes: tuple[bytes, ...]) -> None:
        self._hashes = hashes

    def check(self, key: bytes) -> str | None:
        """Return the sha256 of an accepted key, or None when no keys are set.

        Raises:
            Problem: 401.
        """
        if not self._hashes:
            return None
        digest = hashlib.sha256(key).hexdigest()
        # All hashes are compared, in constant time: the time tells nothing about which was close.
        matches = [hmac.compare_digest(digest.encode(), accepted) for accepted in self._hashes]
        if not any(matches):
            raise Problem(ProblemCode.INVALID_KEY, headers={"WWW-Authenticate": "ApiKey"})
        return digest
