"""Refusals as RFC 9457 problem documents: which field, what is wrong, what would be allowed."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic_core import ValidationError
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
MOST_ALLOWED = 60  # longer lists are code tables: GET /model/seeds/{seed} has them
TITLES = {400: "Bad request", 401: "Unauthorized", 404: "Not found", 405: "Method not allowed", 409: "Reload the form",
          413: "Body too large", 415: "Unsupported media type", 422: "Invalid input", 429: "Too many requests",
          500: "Internal error", 503: "Unavailable"}  # fmt: skip


class Problem(Exception):
    """A request that is refused, with the reason."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = (
            status,
            detail,
            tuple(errors),
            dict(headers or {}),
        )


def document(status: int, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """Return the bytes of a problem document."""
    said: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
    }
    said["detail"] = detail
    if errors:
        said["errors"] = list(errors)
    return orjson.dumps(said)


def respond(problem: Problem) -> Response:
    """Return the answer for a refusal."""
    body = document(problem.status, problem.detail, problem.errors)
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def field_errors(
    error: ValidationError, allowed: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return one entry per wrong field. The input is never echoed: it may hold patient data or odd text."""
    found = []
    for each in error.errors(include_input=False, include_url=False, include_context=False)[
        :MOST_ERRORS
    ]:
        name = printable(".".join(str(part) for part in each["loc"])) if each["loc"] else "body"
        entry: dict[str, Any] = {"field": name, "detail": _detail(each["type"], each["msg"])}
        values = allowed.get(name)
        if values:
            entry["allowed"] = list(values[:MOST_ALLOWED])
            entry["n_allowed"] = len(values)
        found.append(entry)
    return found


def printable(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()[:200]


def _detail(kind: str, message: str) -> str:
    return "is not one of the allowed values" if kind == "literal_error" else printable(message)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 (registered for this class only)
    return respond(error)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class only)
    return respond(Problem(error.status_code, str(error.detail), headers=error.headers))


async def _on_fault(_: Request, __: Exception) -> Response:
    return respond(
        Problem(
            500, "the request could not be answered; the log has the reason under its request id"
        )
    )


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)
