"""Refusals as RFC 9457 problem documents: a code with parameters, and which field is wrong.

`PROBLEMS` and `FIELD_ERRORS` list every code with its English text; docs/serving.md shows them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import ValidationError
from starlette.exceptions import HTTPException

from readmit.client.access_keys import LOCAL_NAME
from readmit.client.answer_types import (
    FieldError,
    FieldErrorCode,
    ParamValue,
    ProblemCode,
    ProblemDocument,
    Value,
)
from readmit.client.row_cells import EMPTY_ROW, WRONG_NUMBER_OF_CELLS
from serving import code_samples

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 100
MAX_ALLOWED = 60  # longer lists are code tables: GET /model/seeds/{seed} has them
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Reload the form",
    413: "Body too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


class ProblemKind(NamedTuple):
    """The status of a problem and its English text, with the names of its parameters in braces."""

    status: int
    detail: str


PROBLEMS: Mapping[ProblemCode, ProblemKind] = {
    ProblemCode.INVALID_HTTP: ProblemKind(400, "the request is not valid HTTP"),
    ProblemCode.HEAD_TOO_LARGE: ProblemKind(
        400, "the head of the request is larger than {max_bytes} bytes"
    ),
    ProblemCode.BAD_REQUEST: ProblemKind(400, "the request cannot be read"),
    ProblemCode.INVALID_KEY: ProblemKind(401, "send a valid key in the header X-API-Key"),
    ProblemCode.MISSING_SCOPE: ProblemKind(403, "the key does not have the scope {scope}"),
    ProblemCode.FOREIGN_FORM: ProblemKind(
        403,
        "a form needs a key in X-API-Key or the header Origin: {origin}, because browsers send"
        " forms for any page",
    ),
    ProblemCode.NOT_FOUND: ProblemKind(404, "there is nothing at this address"),
    ProblemCode.UNKNOWN_SEED: ProblemKind(404, "the model has no such code table"),
    ProblemCode.VERSION_UNAVAILABLE: ProblemKind(
        404,
        "no other version has this alias, or it could not be loaded: only production answers",
    ),
    ProblemCode.METHOD_NOT_ALLOWED: ProblemKind(405, "this address takes {allow}: {line}"),
    ProblemCode.SLOW_REQUEST: ProblemKind(
        408, "the request did not arrive in time: the limit frees the memory of slow senders"
    ),
    ProblemCode.OUTDATED_FORM: ProblemKind(
        409, "the form was made for another contract and cannot be mapped: reload the form"
    ),
    ProblemCode.BODY_TOO_LARGE: ProblemKind(
        413, "the body is larger than {max_bytes} bytes: the limit protects a worker's memory"
    ),
    ProblemCode.COMPRESSED_BODY: ProblemKind(415, "send the body uncompressed"),
    ProblemCode.WRONG_MEDIA_TYPE: ProblemKind(
        415, "this address takes {accepted}, named in the header Content-Type: {line}"
    ),
    ProblemCode.UNKNOWN_HOST: ProblemKind(
        421, "the API is not reached by this name: READMIT_API_ALLOWED_HOSTS lists its names"
    ),
    ProblemCode.INVALID_FIELDS: ProblemKind(422, "the request does not fit the model's contract"),
    ProblemCode.INVALID_JSON: ProblemKind(422, "the body is not JSON"),
    ProblemCode.MISSING_ROWS: ProblemKind(422, 'send {{"rows": [...]}}'),
    ProblemCode.TOO_MANY_ROWS: ProblemKind(
        422, "more than {max_rows} rows: the limit protects time and memory; send several calls"
    ),
    ProblemCode.TOO_MANY_FIELDS: ProblemKind(
        422, "more than {max_fields} fields in a row: the model has fewer; nothing was read"
    ),
    ProblemCode.INVALID_CSV: ProblemKind(422, "the body is not CSV in UTF-8: {reason}"),
    ProblemCode.INVALID_FORM: ProblemKind(422, "the form has no file that can be read: {reason}"),
    ProblemCode.UNKNOWN_HEADER: ProblemKind(
        422, "the first line must name fields of the model, separated by commas"
    ),
    ProblemCode.DUPLICATE_COLUMNS: ProblemKind(422, "a field has more than one column"),
    ProblemCode.UNKNOWN_ALIAS: ProblemKind(422, "there is no such alias"),
    ProblemCode.RATE_LIMITED: ProblemKind(
        429,
        "at most {max_per_second} requests per second and caller in each process; ten rows of a"
        " batch count as one, an explanation as ten",
    ),
    ProblemCode.INTERNAL_ERROR: ProblemKind(
        500, "the request could not be answered; the log has the reason under its request id"
    ),
    ProblemCode.NO_MODEL: ProblemKind(503, "no model is loaded yet: /readyz says why"),
    ProblemCode.MEMORY_LIMIT: ProblemKind(503, "bodies of other requests hold {held_bytes} bytes"),
    ProblemCode.HISTORY_UNAVAILABLE: ProblemKind(
        503, "the patient's history cannot be read now, and the request asks for no answer without"
    ),
    ProblemCode.DATABASE_UNREACHABLE: ProblemKind(503, "the database does not answer ({error})"),
    ProblemCode.DATABASE_REFUSED: ProblemKind(503, "the database refuses the query ({error})"),
    ProblemCode.STORE_UNAVAILABLE: ProblemKind(
        503, "the object store does not take the file ({error}): send it again"
    ),
}
FIELD_ERRORS: Mapping[FieldErrorCode, str] = {
    FieldErrorCode.REQUIRED: "is missing",
    FieldErrorCode.UNKNOWN_FIELD: "is not a field of this model",
    FieldErrorCode.NOT_ALLOWED: "is not one of the allowed values",
    FieldErrorCode.TOO_SMALL: "must be at least {minimum}",
    FieldErrorCode.TOO_LARGE: "must be at most {maximum}",
    FieldErrorCode.TOO_LONG: "must have at most {max_length} characters",
    FieldErrorCode.NOT_AN_INTEGER: "must be a whole number",
    FieldErrorCode.NOT_A_NUMBER: "must be a number",
    FieldErrorCode.NOT_FINITE: "must be a finite number",
    FieldErrorCode.NOT_A_BOOLEAN: "must be true or false",
    FieldErrorCode.NOT_A_STRING: "must be text",
    FieldErrorCode.NOT_AN_OBJECT: "must be an object",
    FieldErrorCode.NOT_A_LIST: "must be a list of objects",
    FieldErrorCode.NOT_JSON: "is not valid JSON: {reason}",
    FieldErrorCode.INVALID_NAME: "must have a name that is text",
    FieldErrorCode.NO_KNOWN_FIELD: "names no field of the model",
    FieldErrorCode.DUPLICATE_COLUMN: "has more than one column",
    FieldErrorCode.WRONG_NUMBER_OF_CELLS: WRONG_NUMBER_OF_CELLS,
    FieldErrorCode.EMPTY_ROW: EMPTY_ROW,
    FieldErrorCode.INVALID: "is not valid",
}
# pydantic's error types, https://docs.pydantic.dev/latest/errors/validation_errors
PYDANTIC_CODES: Mapping[str, FieldErrorCode] = {
    "missing": FieldErrorCode.REQUIRED,
    "extra_forbidden": FieldErrorCode.UNKNOWN_FIELD,
    "literal_error": FieldErrorCode.NOT_ALLOWED,
    "greater_than_equal": FieldErrorCode.TOO_SMALL,
    "less_than_equal": FieldErrorCode.TOO_LARGE,
    "string_too_long": FieldErrorCode.TOO_LONG,
    "int_type": FieldErrorCode.NOT_AN_INTEGER,
    "int_from_float": FieldErrorCode.NOT_AN_INTEGER,
    "int_parsing": FieldErrorCode.NOT_AN_INTEGER,
    "int_parsing_size": FieldErrorCode.NOT_AN_INTEGER,
    "float_type": FieldErrorCode.NOT_A_NUMBER,
    "float_parsing": FieldErrorCode.NOT_A_NUMBER,
    "finite_number": FieldErrorCode.NOT_FINITE,
    "bool_type": FieldErrorCode.NOT_A_BOOLEAN,
    "bool_parsing": FieldErrorCode.NOT_A_BOOLEAN,
    "string_type": FieldErrorCode.NOT_A_STRING,
    "string_unicode": FieldErrorCode.NOT_A_STRING,
    "dict_type": FieldErrorCode.NOT_AN_OBJECT,
    "model_type": FieldErrorCode.NOT_AN_OBJECT,
    "json_invalid": FieldErrorCode.NOT_JSON,
    "invalid_key": FieldErrorCode.INVALID_NAME,
}
PYDANTIC_PARAMS = {"ge": "minimum", "le": "maximum", "max_length": "max_length", "error": "reason"}
HTTP_CODES = {404: ProblemCode.NOT_FOUND}


class Problem(Exception):
    """A refused request, with the reason."""

    def __init__(
        self,
        code: ProblemCode,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **params: ParamValue,
    ) -> None:
        kind = PROBLEMS[code]
        self.code = code
        self.params = params
        self.status = kind.status
        self.title = TITLES[kind.status]
        self.detail = kind.detail.format(**params)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    def body(self) -> bytes:
        """Return the problem document as JSON."""
        document: ProblemDocument = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "params": self.params,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return orjson.dumps(document)


def field_error(
    field: str,
    code: FieldErrorCode,
    *,
    allowed: Sequence[Value] = (),
    params: Mapping[str, ParamValue] | None = None,
) -> FieldError:
    """Return the entry for one wrong field; of a long list of allowed values, the first ones."""
    params = params or {}
    error: FieldError = {
        "field": field,
        "code": code,
        "params": params,
        "detail": FIELD_ERRORS[code].format(**params),
    }
    if allowed:
        error["allowed"] = list(allowed[:MAX_ALLOWED])
        error["n_allowed"] = len(allowed)
    return error


def field_errors(
    error: ValidationError, allowed: Mapping[str, Sequence[Value]]
) -> list[FieldError]:
    """Return one entry per wrong field.

    The input is never echoed: it may hold patient data or unprintable text.
    """
    details = error.errors(include_input=False, include_url=False)
    errors = []
    for detail in details[:MAX_FIELD_ERRORS]:
        name = "body"
        if detail["loc"]:
            name = printable(".".join(str(part) for part in detail["loc"]))
        params: dict[str, ParamValue] = {}
        for key, value in detail.get("ctx", {}).items():
            if key in PYDANTIC_PARAMS:
                params[PYDANTIC_PARAMS[key]] = printable(value) if isinstance(value, str) else value
        code = PYDANTIC_CODES.get(detail["type"], FieldErrorCode.INVALID)
        errors.append(field_error(name, code, allowed=allowed.get(name, ()), params=params))
    return errors


def printable(text: str) -> str:
    """Return at most 200 characters that UTF-8 can hold: a lone surrogate becomes "?"."""
    return text.encode("utf-8", "replace").decode()[:200]


def wrong_media_type(request: Request, accepted: Sequence[str]) -> Problem:
    """Return the refusal of a body in another media type, with the line to use."""
    types = ", ".join(accepted)
    headers = {"Accept-Post": types}
    line = _line(request)
    return Problem(ProblemCode.WRONG_MEDIA_TYPE, headers=headers, accepted=types, line=line)


def method_not_allowed(request: Request, error: HTTPException) -> Problem:
    """Return the refusal of another method, with the methods of the route and the line to use."""
    allow = (error.headers or {}).get("Allow", "GET")
    if allow == "GET":
        allow = "GET, HEAD"
    line = _line(request)
    return Problem(ProblemCode.METHOD_NOT_ALLOWED, headers={"Allow": allow}, allow=allow, line=line)


def _line(request: Request) -> str:
    """Return the command for the route of a request, without what the caller put into its path."""
    route = request.scope.get("route")
    path = route.path if isinstance(route, APIRoute) else "/docs"
    caller = getattr(request.state, "caller", None)
    has_key = caller is not None and caller.name != LOCAL_NAME
    return code_samples.line(path, str(request.base_url).rstrip("/"), has_key=has_key)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""

    @app.exception_handler(Problem)
    async def on_problem(_: Request, problem: Problem) -> Response:
        return Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return await on_problem(request, method_not_allowed(request, error))
        code = HTTP_CODES.get(error.status_code, ProblemCode.BAD_REQUEST)
        return await on_problem(request, Problem(code, headers=error.headers))

    @app.exception_handler(Exception)
    async def on_fault(request: Request, _: Exception) -> Response:
        return await on_problem(request, Problem(ProblemCode.INTERNAL_ERROR))
