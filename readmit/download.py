"""Fetch a source file over HTTP: time-outs, retries, and the page that Google Drive puts before large files."""

import logging
import os
import time
from html.parser import HTMLParser
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx

from readmit.errors import SourceRefused

log = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# A confirm page has a few kilobytes; more than this is not read in search of a form.
MAX_PAGE_BYTES = 1 << 20


class SourceUnreachable(Exception):
    """The address did not answer as it should after all attempts; trying again later may help."""


def download(url: str, target: Path, attempts: int = ATTEMPTS, pause: float = FIRST_PAUSE_SECONDS) -> None:
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
    for attempt in range(1, attempts + 1):
        try:
            return _fetch(url, target)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            _give_up_if_final(url, error)
            log.warning("download of %s failed (attempt %d of %d): %s", url, attempt, attempts, error)
            last = error
        if attempt < attempts:
            time.sleep(pause * 2 ** (attempt - 1))
    raise SourceUnreachable(f"{url}: no complete answer after {attempts} attempts ({last}); is the network up?")


def _give_up_if_final(url: str, error: httpx.HTTPError) -> None:
    if not isinstance(error, httpx.HTTPStatusError):
        return
    status = error.response.status_code
    if status < 500 and status not in (408, 425, 429):
        raise SourceRefused(f"{url}: the server answers {status}; check the address in DATASET") from error


def _fetch(url: str, target: Path) -> None:
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
        form = _save_or_form(client, url, {}, target)
        if form is not None and _save_or_form(client, form.action, form.fields, target) is not None:
            raise SourceRefused(f"{url}: the server asks for confirmation again and again; download it by hand")


def _save_or_form(client: httpx.Client, url: str, fields: dict[str, str], target: Path) -> "_ConfirmForm | None":
    """Save the answer, or return the confirm form when the answer is a page that holds one."""
    with client.stream("GET", url, params=fields or None) as answer:
        answer.raise_for_status()
        if "text/html" in answer.headers.get("content-type", ""):
            return _confirm_form(answer)
        _save(answer, target)
    return None


def _save(answer: httpx.Response, target: Path) -> None:
    with NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            for chunk in answer.iter_bytes(1 << 20):
                part.write(chunk)
        except BaseException:
            Path(part.name).unlink()
            raise
    os.replace(part.name, target)


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
            f"{answer.url}: answers with a web page, not a file; is the link public, and the file's own?"
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
