"""Logs as JSON lines. Each line of a request carries the ids of the request.

A caller may send `X-Correlation-ID`; the web form's client always does. The API takes this id, or
its own request id when there is none, and puts it on every line of the request and on its answer.
`make logs ID=...` finds them all.
"""

import json
import logging
import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

CORRELATION_HEADER = "X-Correlation-ID"
VALID_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# The ids of the request that is being answered.
REQUEST_IDS: ContextVar[Mapping[str, str] | None] = ContextVar("ids", default=None)


def new_id() -> str:
    """Return a new unique id."""
    return str(uuid.uuid4())


def valid_id(text: str) -> str | None:
    """Return a caller's id, or None if it is not short and plain: logs and headers repeat it."""
    if VALID_ID.fullmatch(text):
        return text
    return None


class JsonLines(logging.Formatter):
    """Formats each record as one line of JSON. `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "at": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", None) or {}
        line |= REQUEST_IDS.get() or {}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half a character, as in file names of other encodings
            return json.dumps(line, default=str)


def log_as_json(*names: str) -> None:
    """Let these loggers, and those below them, write JSON lines to standard error.

    A further call changes nothing.
    """
    for name in names:
        logger = logging.getLogger(name)
        if any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
            continue
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
