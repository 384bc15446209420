"""The answers and problems of each route, for the OpenAPI document."""

from collections.abc import Iterable
from typing import Any

import orjson

from readmit.client.answer_types import FieldError, FieldErrorCode, ParamValue, ProblemCode
from serving import code_samples
from serving.problems import MEDIA_TYPE, Problem, field_error

Responses = dict[int | str, dict[str, Any]]  # FastAPI's type
JSON = "application/json"
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/ProblemDocument"}
EVERY_ROUTE = (
    ProblemCode.BODY_TOO_LARGE,
    ProblemCode.COMPRESSED_BODY,
    ProblemCode.UNKNOWN_HOST,
    ProblemCode.INTERNAL_ERROR,
)
WITH_KEY = (ProblemCode.INVALID_KEY, ProblemCode.RATE_LIMITED)
WITH_SCOPE = (*WITH_KEY, ProblemCode.MISSING_SCOPE)
WITH_BODY = (
    ProblemCode.WRONG_MEDIA_TYPE,
    ProblemCode.SLOW_REQUEST,
    ProblemCode.MEMORY_LIMIT,
    ProblemCode.NO_MODEL,
)
STAY = (
    *WITH_SCOPE,
    *WITH_BODY,
    ProblemCode.TOO_MANY_FIELDS,
    ProblemCode.INVALID_FIELDS,
    ProblemCode.OUTDATED_FORM,
    ProblemCode.HISTORY_UNAVAILABLE,
)
COMPARED_STAY = (*STAY, ProblemCode.UNKNOWN_ALIAS)
BATCH = (
    *WITH_SCOPE,
    *WITH_BODY,
    ProblemCode.INVALID_FIELDS,
    ProblemCode.INVALID_JSON,
    ProblemCode.MISSING_ROWS,
    ProblemCode.TOO_MANY_ROWS,
    ProblemCode.TOO_MANY_FIELDS,
    ProblemCode.INVALID_CSV,
    ProblemCode.INVALID_FORM,
    ProblemCode.FOREIGN_FORM,
    ProblemCode.UNKNOWN_HEADER,
    ProblemCode.DUPLICATE_COLUMNS,
    ProblemCode.HISTORY_UNAVAILABLE,
)
SERVED_MODEL = (*WITH_KEY, ProblemCode.NO_MODEL)
CODE_TABLE = (*SERVED_MODEL, ProblemCode.UNKNOWN_SEED, ProblemCode.NOT_FOUND)
SUBMITTED = (
    *WITH_SCOPE,
    ProblemCode.WRONG_MEDIA_TYPE,
    ProblemCode.SLOW_REQUEST,
    ProblemCode.MEMORY_LIMIT,
    ProblemCode.STORE_UNAVAILABLE,
)
DATABASE = (*WITH_KEY, ProblemCode.DATABASE_UNREACHABLE, ProblemCode.DATABASE_REFUSED)
DATA = (*DATABASE, ProblemCode.MISSING_SCOPE)
EXAMPLE_PARAMS: dict[ProblemCode, dict[str, ParamValue]] = {
    ProblemCode.MISSING_SCOPE: {"scope": "data"},
    ProblemCode.WRONG_MEDIA_TYPE: {
        "accepted": JSON,
        "line": code_samples.line("/predict", code_samples.BASE_URL, has_key=False),
    },
    ProblemCode.BODY_TOO_LARGE: {"max_bytes": 16_000_000},
    ProblemCode.TOO_MANY_ROWS: {"max_rows": 10_000},
    ProblemCode.TOO_MANY_FIELDS: {"max_fields": 80},
    ProblemCode.INVALID_CSV: {"reason": "unexpected end of data"},
    ProblemCode.INVALID_FORM: {"reason": "it has more than one part"},
    ProblemCode.FOREIGN_FORM: {"origin": code_samples.BASE_URL},
    ProblemCode.RATE_LIMITED: {"max_per_second": 5},
    ProblemCode.MEMORY_LIMIT: {"held_bytes": 64_200_000},
    ProblemCode.DATABASE_UNREACHABLE: {"error": "OperationalError"},
    ProblemCode.DATABASE_REFUSED: {"error": "QueryCanceled"},
    ProblemCode.STORE_UNAVAILABLE: {"error": "EndpointConnectionError"},
}
WRONG_VALUE = field_error(
    "gender", FieldErrorCode.NOT_ALLOWED, allowed=["Female", "Male", "unknown"]
)
EXAMPLE_ERRORS: dict[ProblemCode, list[FieldError]] = {
    ProblemCode.INVALID_FIELDS: [
        WRONG_VALUE,
        field_error("n_medications", FieldErrorCode.TOO_LARGE, params={"maximum": 81}),
    ],
    ProblemCode.OUTDATED_FORM: [WRONG_VALUE],
    ProblemCode.MISSING_ROWS: [field_error("rows", FieldErrorCode.NOT_A_LIST)],
    ProblemCode.UNKNOWN_HEADER: [
        field_error("header", FieldErrorCode.NO_KNOWN_FIELD, allowed=["n_medications", "gender"])
    ],
    ProblemCode.DUPLICATE_COLUMNS: [field_error("gender", FieldErrorCode.DUPLICATE_COLUMN)],
    ProblemCode.UNKNOWN_ALIAS: [
        field_error("alias", FieldErrorCode.NOT_ALLOWED, allowed=["previous", "challenger"])
    ],
    ProblemCode.UNKNOWN_SEED: [
        field_error("seed", FieldErrorCode.NOT_ALLOWED, allowed=["icd9_codes"])
    ],
}


def answer(kind: type, example: object, *, status: int = 200, csv: str | None = None) -> Responses:
    """Return the description of an answer: its type and an example, and the same as CSV."""
    content: dict[str, Any] = {JSON: {"example": example}}
    if csv is not None:
        content["text/csv"] = {"schema": {"type": "string"}, "example": csv}
    description = (kind.__doc__ or "").partition("\n")[0]
    return {status: {"model": kind, "description": description, "content": content}}


def text(example: str) -> Responses:
    """Return the description of an answer in plain text."""
    content = {"text/plain": {"example": example}}
    return {200: {"description": "Plain text", "content": content}}


def refusals(codes: Iterable[ProblemCode]) -> Responses:
    """Return the description of each status that the codes have, with an example of each code."""
    responses: Responses = {}
    for code in (*EVERY_ROUTE, *codes):
        errors = EXAMPLE_ERRORS.get(code, ())
        params = EXAMPLE_PARAMS.get(code, {})
        problem = Problem(code, errors=errors, headers=None, **params)
        content = {"schema": PROBLEM_SCHEMA, "examples": {}}
        response = responses.setdefault(
            problem.status,
            {"description": problem.title, "content": {MEDIA_TYPE: content}},
        )
        examples = response["content"][MEDIA_TYPE]["examples"]
        examples[code.value] = {"value": orjson.loads(problem.body())}
    return responses
