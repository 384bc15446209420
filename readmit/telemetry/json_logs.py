"""Logs as JSON lines, each with the ids of the request it belongs to.

A caller may send `X-Correlation-ID`; the web form's client always does. The API takes it over, or uses its own request
id, and puts it on every line of the request and on its answer: `make logs ID=...` finds them all.
"""

import logging
import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

CORRELATION_HEADER = "X-Correlation-ID"
# Ids of the request that is being answered; every line of it carries them.
REQUEST_IDS: ContextVar[Mapping[str, str] | None] = ContextVar("ids", default=None)
SAFE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def new_id() -> str:
    """Return an id that nobody else has."""
    return str(uuid.uuid4())


def valid_id(sent: str) -> str | None:
    """Return a caller's id, or None when it is not short and plain: it goes into logs and headers as it is."""
    return sent if SAFE.fullmatch(sent) else None


class JsonLines(logging.Formatter):
    """One line of JSON per record; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        line |= getattr(record, "fields", None) or {}
        line |= REQUEST_IDS.get() or {}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_as_json(*names: str) -> None:
    """Let these loggers, and those below them, write JSON lines to standard error; again and again is once."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
            handler = logging.StreamHandler()
            handler.setFormatter(JsonLines())
            logger.handlers = [handler]
            logger.setLevel(logging.INFO)
            logger.propagate = False
