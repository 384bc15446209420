"""Fetch a source file over HTTP: time-outs, retries, and Google Drive's page before large files."""

import logging
import os
import re
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

import httpx

from readmit.errors import SourceRefused, SourceUnreachable, printable
from readmit.intake.disk_space import Disk
from readmit.intake.public_transport import NotPublic, PublicTransport

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# The time-out limits the pause between two bytes. These two stop a server that only drips.
PATIENCE_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 1_000
# A confirm page has a few kilobytes; more than this is not searched for a form.
MAX_PAGE_BYTES = 1 << 20
# Google Drive's page when a file was downloaded too often.
QUOTA_WORDS = ("quota exceeded", "too many users have viewed or downloaded this file")
FORM_IDS = ("download-form", "downloadForm")
# Client errors that a retry can solve: time-out, too early, too many requests.
TEMPORARY_STATUSES = (408, 425, 429)


# A server's mark of a version is short; a longer one is not sent back.
MAX_MARK_CHARACTERS = 500


class NotChanged(Exception):
    """The server says that the file is the version that was fetched last."""


@dataclass(frozen=True)
class FileVersion:
    """How a server marks the version of a file: ETag and Last-Modified, as far as it has any."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: httpx.Headers) -> "FileVersion":
        """Return the version that an answer names."""
        marks = []
        for name in ("etag", "last-modified"):
            mark = headers.get(name)
            is_usable = mark and mark.isascii() and mark.isprintable()
            marks.append(mark if is_usable and len(mark) <= MAX_MARK_CHARACTERS else None)
        return cls(*marks)

    def conditions(self) -> dict[str, str]:
        """Return the headers that ask for the file only if it has changed since."""
        headers = {}
        if self.etag:
            headers["If-None-Match"] = self.etag
        if self.last_modified:
            headers["If-Modified-Since"] = self.last_modified
        return headers


NO_VERSION = FileVersion()


def download(
    url: str,
    target: Path,
    attempts: int = ATTEMPTS,
    pause: float = FIRST_PAUSE_SECONDS,
    last_version: FileVersion = FileVersion(),
) -> FileVersion:
    """Fetch `url` into `target`: all of it, or `target` is not touched.

    Args:
        url: http(s) address; a Google Drive `uc?export=download` link works too.
        target: file to write; its folder exists.
        attempts: how often to try before giving up.
        pause: seconds before the second attempt; doubled before each further one.
        last_version: what was fetched before; the server need not send it again.

    Returns:
        The version that was fetched.

    Raises:
        NotChanged: the server has no other version than `last_version`.
        SourceRefused: the address answers, but not with a file (4xx, or a web page).
        SourceUnreachable: no complete answer after all attempts.
        NoRoom: the disk is almost full.
    """
    name = printable_address(url)
    for attempt in range(1, attempts + 1):
        try:
            return _fetch(url, target, last_version.conditions())
        except NotPublic as error:
            raise SourceRefused(
                f"{name}: {error} (a redirect, a page or a name leads into a network);"
                " download the file by hand, or give the address inside that network"
            ) from error
        except (httpx.RequestError, httpx.HTTPStatusError, httpx.InvalidURL) as error:
            reason = _one_line(error)
            is_answer = isinstance(error, httpx.HTTPStatusError)
            if _is_final(error):
                raise SourceRefused(f"{name}: {reason}; check the address in DATASET") from error
        log.warning("download of %s failed (attempt %d of %d): %s", name, attempt, attempts, reason)
        if attempt < attempts:
            time.sleep(pause * 2 ** (attempt - 1))
    advice = "try again later" if is_answer else "is the network up?"
    raise SourceUnreachable(
        f"{name}: no complete answer after {attempts} attempts ({reason}); {advice}"
    )


def printable_address(url: str) -> str:
    """Return an address for messages and the ledger: printable, without the password in it."""
    return printable(re.sub(r"(?<=://)[^/?#]*@", "***@", url))


def _one_line(error: Exception) -> str:
    """Return the reason in one line; the libraries' own texts are longer and repeat the address."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answers {error.response.status_code}"
    if isinstance(error, httpx.ProtocolError) and "complete message body" in str(error):
        return "the connection ended before the file did"
    if isinstance(error, httpx.ProtocolError):
        return "what answers there is no web server"  # the text repeats what came
    first_line = str(error).partition("\n")[0].rstrip(".")
    return printable(first_line) or type(error).__name__


def _without_file(status: int) -> str:
    """Return why an answer of success is no whole file."""
    if status == httpx.codes.ACCEPTED:
        return f"the server answers {status}: the file is not ready yet; try again later"
    if status == httpx.codes.PARTIAL_CONTENT:
        return f"the server answers {status}, a part of the file; download it by hand"
    return f"the server answers {status}, which comes without a file; download it by hand"


def _is_final(error: Exception) -> bool:
    """Tell whether a retry would end the same way."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status < 500 and status not in TEMPORARY_STATUSES
    return isinstance(error, httpx.InvalidURL | httpx.TooManyRedirects | httpx.UnsupportedProtocol)


def _fetch(url: str, target: Path, conditions: dict[str, str]) -> FileVersion:
    transport = PublicTransport()
    with httpx.Client(
        timeout=TIMEOUT, follow_redirects=True, transport=transport, headers=conditions
    ) as client:
        name = printable_address(url)
        answer = _save_or_find_form(client, url, {}, target, name)
        if isinstance(answer, ConfirmForm):
            answer = _save_or_find_form(client, answer.action, answer.fields, target, name)
        if isinstance(answer, ConfirmForm):
            raise SourceRefused(
                f"{name}: the server asks for confirmation again and again; download it by hand"
            )
        return answer


def _save_or_find_form(
    client: httpx.Client, url: str, fields: dict[str, str], target: Path, name: str
) -> "FileVersion | ConfirmForm":
    """Save the answer, or return the confirm form when the answer is a page that holds one.

    `name` is what messages call the source: nothing that a server answered stands in them.
    """
    with client.stream("GET", url, params=fields or None) as response:
        is_conditional = "if-none-match" in client.headers or "if-modified-since" in client.headers
        if response.status_code == httpx.codes.NOT_MODIFIED and is_conditional:
            raise NotChanged(name)
        response.raise_for_status()
        if response.status_code != httpx.codes.OK:
            raise SourceRefused(f"{name}: {_without_file(response.status_code)}")
        content_type = response.headers.get("content-type", "").lower()
        if "text/html" in content_type:
            return ConfirmForm.from_response(response, name)
        _save(response, target, name)
        return FileVersion.of(response.headers)


def _save(response: httpx.Response, target: Path, name: str) -> None:
    started = time.monotonic()
    n_bytes = 0
    disk = Disk.below(target.parent)
    with NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            for chunk in response.iter_bytes():
                part.write(chunk)
                n_bytes += len(chunk)
                seconds = time.monotonic() - started
                if seconds > PATIENCE_SECONDS and n_bytes < seconds * MIN_BYTES_PER_SECOND:
                    raise httpx.ReadTimeout(f"{n_bytes} bytes in {seconds:.0f} seconds")
                disk.ensure_room(name)
        except BaseException:
            Path(part.name).unlink()
            raise
    os.replace(part.name, target)


class ConfirmForm(HTMLParser):
    """The form of Google Drive's "cannot scan for viruses" page: its action and hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._is_inside = False

    @classmethod
    def from_response(cls, response: httpx.Response, name: str) -> Self:
        """Return the form of a page.

        Raises:
            SourceRefused: the page has none; `name` is what the message calls the source.
        """
        page = b""
        for chunk in response.iter_bytes(1 << 16):
            page += chunk
            if len(page) > MAX_PAGE_BYTES:
                break
        text = page.decode("utf-8", errors="replace")
        form = cls()
        form.feed(text)
        if not form.action:
            problem = "answers with a web page, not a file; is the link public, and the file's own?"
            if any(words in text.lower() for words in QUOTA_WORDS):
                problem = (
                    "was downloaded too often today; try again tomorrow, or download it by hand"
                )
            raise SourceRefused(f"{name}: {problem}")
        form.action = str(response.url.join(form.action))
        return form

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the action of the form, and the name and value of each of its fields."""
        attributes = dict(attrs)
        if tag == "form" and attributes.get("id") in FORM_IDS:
            self.action = attributes.get("action") or ""
            self._is_inside = True
        name = attributes.get("name")
        if tag == "input" and self._is_inside and name:
            self.fields[name] = attributes.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the form."""
        if tag == "form":
            self._is_inside = False
