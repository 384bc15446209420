"""A batch without HTTP: from rows to scores and errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from readmit.client.answer_types import BatchAnswer, BatchStay, RowError, Value
from serving.answers import PredictionServices, record, scored_stay
from serving.api_keys import Caller
from serving.bundle_loader import ServedModel
from serving.history import UNAVAILABLE, PastStays
from serving.problems import Problem
from serving.request_fields import MAX_INTEGER
from serving.schema import PredictionRequest

# After these, each further wrong row has its first error only: 30 kB of empty rows made an answer
# of 29 MB.
MAX_ERRORS = 10_000
TrialHistory = PastStays | Literal["unavailable"]
CHUNK_ROWS = 250  # what is made of these rows is freed before the next ones


@dataclass(frozen=True)
class BatchCall:
    """One call of /predict/batch.

    `history` is that of the one patient that a trial is about, or "unavailable" when it cannot be
    read now. A trial has no `services`: its rows are about nobody, so they are neither counted nor
    logged. `has_certainty` says whether each row tells how sure it is.
    """

    model: ServedModel
    request_id: str
    caller: Caller
    calls_per_100: int
    history: TrialHistory | None
    services: PredictionServices | None
    has_certainty: bool = False


def score(call: BatchCall, rows: Sequence[object]) -> BatchAnswer:
    """Return a score or None for each row, all errors, and what the wrong fields allow."""
    predictions: list[BatchStay | None] = []
    errors: list[RowError] = []
    allowed: dict[str, Sequence[Value]] = {}
    for begin in range(0, len(rows), CHUNK_ROWS):
        requests = call.model.requests.from_rows(rows[begin : begin + CHUNK_ROWS])
        predictions += _scores(call, requests, begin)
        for row, problem in enumerate(requests, begin):
            if isinstance(problem, Problem):
                for error in problem.errors[: max(1, MAX_ERRORS - len(errors))]:
                    errors.append(
                        {
                            "row": row,
                            "field": error["field"],
                            "code": error["code"],
                            "params": error["params"],
                            "detail": error["detail"],
                        }
                    )
                for error in problem.errors:
                    if "allowed" in error:
                        allowed[error["field"]] = error["allowed"]
    return {
        "predictions": predictions,
        "errors": errors,
        "allowed": allowed,
        "model": call.model.identity,
        "request_id": call.request_id,
    }


def _scores(
    call: BatchCall, requests: Sequence[PredictionRequest | Problem], begin: int
) -> list[BatchStay | None]:
    """Return the scores of some rows; None for a row with errors.

    The id of a score is that of the call, with the row's number in its last part.
    """
    valid: dict[int, PredictionRequest] = {}
    for row, request in enumerate(requests, begin):
        if isinstance(request, Problem):
            continue
        # The history of the trial's patient, unless the request came with its own.
        if call.history is None or request.history == "given":
            valid[row] = request
        elif isinstance(call.history, str):
            valid[row] = request._replace(history=UNAVAILABLE)
        else:
            valid[row] = call.model.requests.with_history(request, call.history)
    stays: list[BatchStay | None] = [None] * len(requests)
    if not valid:
        return stays
    probabilities = call.model.compiled.score([request.values for request in valid.values()])
    answered = []
    for (row, request), probability in zip(valid.items(), probabilities, strict=True):
        request_id = f"{call.request_id[:24]}{row:012x}"
        scored = scored_stay(
            call.model, request, float(probability), request_id, call.calls_per_100
        )
        stay = cast(BatchStay, scored)  # the same object, which may get one more entry
        if call.has_certainty:
            stay["certainty"] = call.model.certainty_of(stay["probability"], request.values)
        stays[row - begin] = stay
        answered.append((request, stay))
    if call.services is not None:
        record(call.model, answered, call.services, call.caller)
    return stays


def shared_patient(rows: Sequence[object]) -> int | None:
    """Return the patient number that all rows share, as those of a what-if do, or None."""
    first = rows[0] if rows else None
    number = first.get("patient_nbr") if isinstance(first, dict) else None
    if type(number) is not int or not 0 <= number <= MAX_INTEGER:
        return None
    for row in rows:
        if not isinstance(row, dict) or row.get("patient_nbr") != number:
            return None
    return number
