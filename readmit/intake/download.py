"""Fetch a source file over HTTP: time-outs, retries, and the page that Google Drive puts before large files."""

import logging
import os
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx

from readmit.errors import SourceRefused, SourceUnreachable, printable

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# The time-out is for a pause between two bytes; a server that drips would otherwise be waited for all day.
PATIENCE_SECONDS = 60.0
LEAST_BYTES_PER_SECOND = 1_000
# A confirm page has a few kilobytes; more than this is not read in search of a form.
MAX_PAGE_BYTES = 1 << 20
# What a source file leaves free on the disk, for everybody else.
SPARE_BYTES = 200_000_000


def download(
    url: str, target: Path, attempts: int = ATTEMPTS, pause: float = FIRST_PAUSE_SECONDS
) -> None:
    """Fetch `url` into `target`: all of it, or `target` is not touched.

    Args:
        url: http(s) address; a Google Drive `uc?export=download` link works too.
        target: file to write; its folder exists.
        attempts: how often to try before giving up.
        pause: seconds before the second attempt; doubled before each further one.

    Raises:
        SourceRefused: the address answers, but not with a file (4xx, or a web page).
        SourceUnreachable: no complete answer after all attempts.
    """
    name = printable_address(url)
    for attempt in range(1, attempts + 1):
        try:
            return _fetch(url, target)
        except (httpx.RequestError, httpx.HTTPStatusError, httpx.InvalidURL) as error:
            said = _said(error)
            if _is_final(error):
                raise SourceRefused(f"{name}: {said}; check the address in DATASET") from error
            log.warning(
                "download of %s failed (attempt %d of %d): %s", name, attempt, attempts, said
            )
        if attempt < attempts:
            time.sleep(pause * 2 ** (attempt - 1))
    raise SourceUnreachable(
        f"{name}: no complete answer after {attempts} attempts ({said}); is the network up?"
    )


def printable_address(url: str) -> str:
    """Return an address as messages and the ledger hold it: without the password that it may carry."""
    return printable(re.sub(r"(?<=://)[^/?#]*@", "***@", url))


def ensure_room(folder: Path, n_bytes: int, name: str) -> None:
    """Refuse what does not fit on the disk of this folder, before it is full.

    Raises:
        SourceRefused: fewer bytes are free than `n_bytes` and `SPARE_BYTES`.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPARE_BYTES:
        needed = f"{n_bytes / 1e9:.1f} GB are needed" if n_bytes else "more is needed"
        raise SourceRefused(
            f"{name}: {free / 1e9:.1f} GB are free at {folder}, and {needed}: "
            "free some, or set READMIT_HOME to another disk"
        )


def _said(error: Exception) -> str:
    """Return one line; the libraries' own texts are longer and repeat the address."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answers {error.response.status_code}"
    return printable(str(error).partition("\n")[0].rstrip(".")) or type(error).__name__


def _is_final(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status < 500 and status not in (408, 425, 429)
    return isinstance(error, httpx.InvalidURL | httpx.TooManyRedirects | httpx.UnsupportedProtocol)


def _fetch(url: str, target: Path) -> None:
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
        form = _save_or_form(client, url, {}, target)
        if form is not None and _save_or_form(client, form.action, form.fields, target) is not None:
            what = "the server asks for confirmation again and again; download it by hand"
            raise SourceRefused(f"{printable_address(url)}: {what}")


def _save_or_form(
    client: httpx.Client, url: str, fields: dict[str, str], target: Path
) -> "_ConfirmForm | None":
    """Save the answer, or return the confirm form when the answer is a page that holds one."""
    with client.stream("GET", url, params=fields or None) as answer:
        answer.raise_for_status()
        if "text/html" in answer.headers.get("content-type", "").lower():
            return _confirm_form(answer)
        _save(answer, target)
    return None


def _save(answer: httpx.Response, target: Path) -> None:
    name, began, n_bytes = printable_address(str(answer.url)), time.monotonic(), 0
    with NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            for chunk in answer.iter_bytes():
                part.write(chunk)
                n_bytes += len(chunk)
                _check_pace(n_bytes, time.monotonic() - began)
                ensure_room(target.parent, 0, name)
        except BaseException:
            Path(part.name).unlink()
            raise
    os.replace(part.name, target)


def _check_pace(n_bytes: int, seconds: float) -> None:
    if seconds > PATIENCE_SECONDS and n_bytes < seconds * LEAST_BYTES_PER_SECOND:
        raise httpx.ReadTimeout(f"{n_bytes} bytes in {seconds:.0f} seconds")


def _confirm_form(answer: httpx.Response) -> "_ConfirmForm":
    page = b""
    for chunk in answer.iter_bytes(1 << 16):
        page += chunk
        if len(page) > MAX_PAGE_BYTES:
            break
    form = _ConfirmForm()
    form.feed(page.decode("utf-8", errors="replace"))
    if not form.action:
        raise SourceRefused(
            f"{printable_address(str(answer.url))}: answers with a web page, not a file; "
            "is the link public, and the file's own?"
        )
    form.action = str(answer.url.join(form.action))
    return form


class _ConfirmForm(HTMLParser):
    """The form `download-form` of Google Drive's "cannot scan for viruses" page: its action and hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "form" and values.get("id") in ("download-form", "downloadForm"):
            self.action, self._inside = values.get("action", ""), True
        elif tag == "input" and self._inside and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"
