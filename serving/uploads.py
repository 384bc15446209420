"""Files as callers send them: media types of CSV, character sets, and forms with a file."""

import codecs
from email.message import Message
from email.parser import BytesHeaderParser
from typing import NamedTuple

from fastapi import Request

from readmit.client.answer_types import ProblemCode
from serving.code_samples import CSV, JSON, KEY_HEADER, MULTIPART
from serving.problems import Problem, wrong_media_type

# The second is what some libraries say, the third what Windows with Excel says for a CSV file.
CSV_TYPES = (CSV, "application/csv", "application/vnd.ms-excel")
BINARY = "application/octet-stream"
# A browser asks before it sends one of these for a foreign page, and gets no leave.
FILE_TYPES = (*CSV_TYPES, BINARY)
BATCH_TYPES = (JSON, *CSV_TYPES, MULTIPART)
# Python's names. Others would have to be guessed, or unpack what was compressed.
CHARSETS = (
    "utf-8",
    "ascii",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "iso8859-1",
    "iso8859-15",
    "cp1252",
)
MAX_PART_HEAD_BYTES = 4_096
# The time of Python's parser grows with the square: 60,000 semicolons took 16 s.
MAX_TYPE_CHARACTERS = 2_000


class Upload(NamedTuple):
    """A body: JSON, or CSV in UTF-8 or with a byte order mark."""

    is_csv: bool
    body: bytes


async def read(request: Request) -> Upload:
    """Return the body of a batch.

    Raises:
        Problem: 403 for a form that a foreign web page may have sent, 415 for another media type or
            character set, 422 for a form without a file.
    """
    header = Message()
    if content_type := request.headers.get("content-type"):
        _check_type(request, content_type)
        header["content-type"] = content_type
    media_type = header.get_content_type() if header["content-type"] else ""
    if media_type == JSON:
        return Upload(is_csv=False, body=await request.body())
    if media_type == MULTIPART:
        _check_origin(request)
        header, body = _only_part(header, await request.body())
        _check_type(request, header.get("content-type", ""))
    elif media_type in CSV_TYPES:
        body = await request.body()
    else:
        raise wrong_media_type(request, BATCH_TYPES)
    return Upload(is_csv=True, body=_in_utf8(request, header.get_content_charset(), body))


def _check_type(request: Request, content_type: str) -> None:
    """Refuse a media type with parameters that nobody needs.

    Raises:
        Problem: 415.
    """
    if len(content_type) > MAX_TYPE_CHARACTERS:
        raise wrong_media_type(request, BATCH_TYPES)


def _check_origin(request: Request) -> None:
    """Refuse a form that a browser may have sent for a foreign page.

    A browser sends forms to any address without asking it first (CORS), but only with the Origin of
    the page; and no header of a program's choice, such as that of a key.

    Raises:
        Problem: 403.
    """
    if KEY_HEADER in request.headers:
        return
    origin = request.headers.get("origin", "")
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or host.lower() != request.headers["host"].lower():
        address = str(request.base_url).rstrip("/")
        raise Problem(ProblemCode.FOREIGN_FORM, origin=address)


def _only_part(header: Message, body: bytes) -> tuple[Message, bytes]:
    """Return the head and the content of the one part of a form (RFC 7578).

    Nothing is copied but the part: a body of a million parts costs no more than its bytes.

    Raises:
        Problem: 422.
    """
    boundary = header.get_boundary("")
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    if not boundary or not body.startswith(delimiter + b"\r\n"):
        raise Problem(ProblemCode.INVALID_FORM, reason="it does not begin with its boundary")
    begin = len(delimiter) + 2
    end = body.find(b"\r\n" + delimiter, begin)
    if end == -1 or not body.startswith(b"--", end + 2 + len(delimiter)):
        reason = "it is cut off" if end == -1 else "it has more than one part"
        raise Problem(ProblemCode.INVALID_FORM, reason=reason)
    head_end = body.find(b"\r\n\r\n", begin, begin + MAX_PART_HEAD_BYTES)
    if head_end == -1 or head_end > end:
        raise Problem(ProblemCode.INVALID_FORM, reason="its part has no head")
    head = BytesHeaderParser().parsebytes(body[begin:head_end])
    return head, body[head_end + 4 : end]


def _in_utf8(request: Request, charset: str | None, body: bytes) -> bytes:
    """Return CSV in UTF-8. Without a character set, a byte order mark shows the encoding later.

    Raises:
        Problem: 415 for an unknown character set, 422 when the body is not written in it.
    """
    if charset is None:
        return body
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    if name not in CHARSETS:
        raise wrong_media_type(request, [f"{CSV}; charset={name}" for name in CHARSETS])
    if name in ("utf-8", "ascii"):
        return body
    try:
        return body.decode(name).encode()
    except UnicodeDecodeError as error:
        raise Problem(ProblemCode.INVALID_CSV, reason=str(error)) from None
