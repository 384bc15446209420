"""Client of the prediction API, for the web form and for users.

    with Client("http://127.0.0.1:8000") as api:
        api.predict({"age_band": "[70-80)", ...})["probability"]

Answers are the API's JSON documents; `answer_types` has their types. Every method raises `ApiDown`
if no answer comes, and `Problem` if the API rejects the request with an RFC 9457 document.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

import httpx

from readmit.client.answer_types import (
    BatchAnswer,
    BatchOutcome,
    ComparedAnswer,
    Explanation,
    FieldError,
    LedgerRow,
    ModelInfo,
    MonitorReport,
    ParamValue,
    Prediction,
    PromotionDecision,
    QuarantinedRow,
    Readiness,
    ReceivedFile,
    SeedRow,
    SubmittedFile,
)
from readmit.telemetry.json_logs import CORRELATION_HEADER, new_id

log = logging.getLogger("readmit.client")

Document = dict[str, Any]
# `encounter_id` of the load test. Without API keys, such requests are logged as not clinical, and
# the monitor leaves them out; with keys, the key's scopes decide.
LOAD_TEST_STAY = 0
TIMEOUT_SECONDS = 10.0  # a batch of 1,000 rows takes well under one second


class ApiDown(Exception):
    """The API sent no answer: it is not running, not reachable, or too slow."""


@dataclass(eq=False)
class Problem(Exception):
    """The API rejected a request: an RFC 9457 problem document.

    `code` and `params` give the reason to programs; a proxy's rejection has neither. `errors` has
    an entry for each invalid field.
    """

    status: int
    title: str
    detail: str = ""
    errors: Sequence[FieldError] = field(default_factory=tuple)
    code: str = ""
    params: Mapping[str, ParamValue] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.title}: {self.detail}"

    @classmethod
    def from_response(cls, response: httpx.Response) -> Self:
        """Return a rejection as a problem. One without a problem document keeps its status."""
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return cls(response.status_code, response.reason_phrase, response.text[:200])
        return cls(
            status=response.status_code,
            title=str(document.get("title") or response.reason_phrase),
            detail=str(document.get("detail") or ""),
            errors=tuple(document.get("errors") or ()),
            code=str(document.get("code") or ""),
            params=document.get("params") or {},
        )


class Client:
    """A connection pool to one API. Safe to share between threads."""

    def __init__(
        self, base_url: str, *, timeout: float = TIMEOUT_SECONDS, api_key: str | None = None
    ) -> None:
        headers = {"X-API-Key": api_key} if api_key else {}
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout, headers=headers, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def model(self) -> ModelInfo:
        """Return the served model: name, version, run, metrics, threshold, contract (no seeds)."""
        return cast(ModelInfo, self._request("GET", "/model"))

    def seed(self, name: str) -> list[SeedRow]:
        """Return the rows of a code table of the served model's contract."""
        return cast(list[SeedRow], self._rows(f"/model/seeds/{name}", "rows"))

    def history(self) -> list[PromotionDecision]:
        """Return the decisions to promote, keep or roll back."""
        return cast(list[PromotionDecision], self._rows("/model/history", "promotions"))

    def predict(self, row: Mapping[str, object], *, calls_per_100: int | None = None) -> Prediction:
        """Return the answer for one stay.

        `calls_per_100` patients can be called; without it, the number of the key counts.
        """
        path = _with_query("/predict", calls_per_100=calls_per_100)
        return cast(Prediction, self._request("POST", path, row))

    def explain(self, row: Mapping[str, object]) -> Explanation:
        """Return the contributions of the fields to the score of one stay."""
        return cast(Explanation, self._request("POST", "/explain", row))

    def compare(self, row: Mapping[str, object], alias: str = "previous") -> list[ComparedAnswer]:
        """Return the answers of production and of the version with an alias.

        Without such a version, or without its answer, the reason stands in its place.
        """
        answer = self._request("POST", f"/compare?alias={quote(alias, safe='')}", row)
        return cast(dict[str, list[ComparedAnswer]], answer)["answers"]

    def predict_batch(
        self,
        rows: Sequence[Mapping[str, object]],
        *,
        trial: bool = False,
        certainty: bool = False,
        calls_per_100: int | None = None,
    ) -> BatchAnswer:
        """Return the answers for many stays; a trial is not logged.

        With `certainty` each of them says how sure it is.
        """
        path = _with_query(
            "/predict/batch",
            trial="true" if trial else None,
            certainty="true" if certainty else None,
            calls_per_100=calls_per_100,
        )
        return cast(BatchAnswer, self._request("POST", path, {"rows": list(rows)}))

    def ready(self) -> Readiness:
        """Return the answer of `/readyz`: readiness and the served model."""
        return cast(Readiness, self._request("GET", "/readyz"))

    def batches(self) -> list[LedgerRow]:
        """Return the ledger of batches."""
        return cast(list[LedgerRow], self._rows("/data/batches", "batches"))

    def submit(self, name: str, content: bytes) -> SubmittedFile:
        """Put a file into the inbox; the next run reads it, and `inbox` then has its result."""
        path = f"/submit?name={quote(name, safe='')}"
        return cast(SubmittedFile, self._request("POST", path, content=content))

    def inbox(self) -> list[ReceivedFile]:
        """Return the files of the inbox with their results, the newest first."""
        return cast(list[ReceivedFile], self._rows("/data/inbox", "files"))

    def outcomes(self) -> list[BatchOutcome]:
        """Return how many published stays each batch has, and how many were readmitted."""
        return cast(list[BatchOutcome], self._rows("/data/outcomes", "outcomes"))

    def monitoring(self) -> list[MonitorReport]:
        """Return the monitor's reports: drift of requests, and realised performance."""
        return cast(list[MonitorReport], self._rows("/data/monitoring", "reports"))

    def quarantine(self) -> list[QuarantinedRow]:
        """Return the rows in quarantine, with reasons."""
        return cast(list[QuarantinedRow], self._rows("/data/quarantine", "rows"))

    def _rows(self, path: str, name: str) -> list[object]:
        """Return the rows that the answer holds under `name`."""
        return cast(dict[str, list[object]], self._request("GET", path))[name]

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        content: bytes | None = None,
    ) -> object:
        """Return the JSON of an answer to a JSON document, or to the bytes of a file.

        Raises:
            ApiDown: no answer came.
            Problem: the API rejected the request.
        """
        correlation_id = new_id()
        fields: Document = {"method": method, "path": path, "correlation_id": correlation_id}
        headers = {CORRELATION_HEADER: correlation_id}
        if content is not None:
            headers["Content-Type"] = "application/octet-stream"
        start = time.perf_counter()
        try:
            response = self._http.request(method, path, json=body, content=content, headers=headers)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            log.warning("no answer: %s", reason, extra={"fields": fields})
            raise ApiDown(f"{self._http.base_url}: {reason}") from error
        fields["status"] = response.status_code
        fields["ms"] = round((time.perf_counter() - start) * 1000, 2)
        log.info("answered", extra={"fields": fields})
        if response.is_success:
            return response.json()
        raise Problem.from_response(response)


def _with_query(path: str, **parameters: str | int | None) -> str:
    """Return the path with those parameters that have a value."""
    present = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(present)}" if present else path
