"""Who asks: the key of a request, and what it may be used for."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from readmit.client.access_keys import LOCAL_NAME, USUAL_CALLS, AccessKey, Scope
from readmit.client.answer_types import ProblemCode
from readmit.client.api_client import LOAD_TEST_STAY
from serving.problems import Problem

# The scope that a path needs, by its first part; other paths need any valid key.
REQUIRED_SCOPES = {
    "predict": Scope.PREDICT,
    "explain": Scope.PREDICT,
    "compare": Scope.PREDICT,
    "data": Scope.DATA,
    "submit": Scope.SUBMIT,
}

# Probes and Prometheus carry no key.
UNKEYED_PATHS = ("/livez", "/readyz", "/metrics")
SCOPE_TEXTS = {
    Scope.PREDICT: "`/predict`, `/predict/batch`, `/explain`, `/compare`",
    Scope.HISTORY: "see the values of a history that was looked up",
    Scope.DATA: "`/data/...`",
    Scope.SUBMIT: "`/submit`: put a file into the inbox",
    Scope.CLINICAL: "answers count for drift and realised performance",
}


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the name of the key, its scopes, and how many patients it can call."""

    name: str
    scopes: frozenset[Scope]
    calls_per_100: int = USUAL_CALLS

    def is_clinical(self, encounter_id: int | None) -> bool:
        """Tell whether an answer is about the care of a patient, so that the monitor counts it.

        The key decides, and nothing that the caller sends. Without keys a load test can only say
        itself that it is one: by the stay 0.
        """
        if self.name == LOCAL_NAME and encounter_id == LOAD_TEST_STAY:
            return False
        return Scope.CLINICAL in self.scopes


# Without keys, everybody who reaches the API is this caller.
LOCAL = Caller(LOCAL_NAME, frozenset(Scope))


def required_scope(path: str) -> Scope | None:
    """Return the scope that a path needs; None for one that any valid key may use."""
    return REQUIRED_SCOPES.get(path.lstrip("/").partition("/")[0])


def check_scope(caller: Caller, path: str) -> None:
    """Refuse what the caller's key may not be used for.

    Raises:
        Problem: 403, with the scope that is missing.
    """
    scope = required_scope(path)
    if scope is not None and scope not in caller.scopes:
        raise Problem(ProblemCode.MISSING_SCOPE, scope=scope.value)


class ApiKeys:
    """Tells callers by their keys; without accepted keys everybody is `LOCAL`."""

    def __init__(self, keys: Sequence[AccessKey]) -> None:
        self._keys = [(bytes.fromhex(key.sha256), key) for key in keys]
        self._callers = {
            key.sha256: Caller(key.name, key.scopes, key.calls_per_100) for key in keys
        }

    def caller(self, secret: bytes) -> Caller:
        """Return who sends a key.

        Raises:
            Problem: 401 when the key is missing, unknown or has expired.
        """
        if not self._keys:
            return LOCAL
        digest = hashlib.sha256(secret).digest()
        matching = None
        # All hashes are compared, in constant time: the time tells nothing about which was close.
        for accepted, key in self._keys:
            if hmac.compare_digest(digest, accepted):
                matching = key
        if matching is None or not matching.is_valid():
            raise Problem(ProblemCode.INVALID_KEY, headers={"WWW-Authenticate": "ApiKey"})
        return self._callers[matching.sha256]
