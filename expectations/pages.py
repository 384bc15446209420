"""Data docs: Great Expectations' own page for each gate of a batch, made to work offline, stored in S3.

A page per batch and gate and no rebuild of older ones: the thirtieth batch costs what the first did.
"""

import html
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from readmit import storage
from readmit.settings import Settings

STATIC = Path(__file__).parent / "static"
PREFIX = "docs/gx"
# Where a page loads a library from another host -> our copy of it. What is not named here is left out: charts of
# vega, the calendar and the dark theme are not used.
COPIES = {
    "bootstrap-table.min.css": "bootstrap-table.min.css",
    "bootstrap.min.css": "bootstrap.min.css",
    "font-awesome": "fontawesome.min.css",
    "jquery-3": "jquery.min.js",
    "popper.min.js": "popper.min.js",
    "bootstrap.min.js": "bootstrap.min.js",
    "bootstrap-table.min.js": "bootstrap-table.min.js",
}
LOADED = re.compile(r"<(?:script|link)\b[^>]*(?:src|href)=\"(https?://[^\"]+)\"[^>]*>(?:\s*</script>)?")
FOOTER = re.compile(r"<footer>.*?</footer>", re.DOTALL)  # an advertisement
CRUMBS = re.compile(r'<a href="[^"]*index.html">Home</a>(.*?)aria-current="page">[^<]*<', re.DOTALL)
PICTURE = re.compile(r"<img\b[^>]*src=\"https?://[^>]*>")
TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2", ".txt": "text/plain"}


def store(name: str, gate: str, results: list[ExpectationSuiteValidationResult], settings: Settings) -> str:
    """Write the pages of one gate and its verdict; returns the address of the first page on the docs site."""
    s3, bucket = storage.client(settings), settings.s3_pipeline_bucket
    _store_static(settings)
    files: list[str] = []
    for result in results:
        file = f"{gate}.html" if not files else f"{gate}-{result.suite_name}.html"
        body = offline(render(result), f"{name}: {gate} gate, {result.suite_name}").encode()
        s3.put_object(Bucket=bucket, Key=f"{PREFIX}/{name}/{file}", Body=body, ContentType="text/html; charset=utf-8")
        files.append(file)
    outcomes = [outcome for result in results for outcome in result.results]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    verdict = {"batch_id": name, "gate": gate, **tally(outcomes), "pages": files, "at": at}
    body = json.dumps(verdict).encode()
    s3.put_object(Bucket=bucket, Key=f"{PREFIX}/{name}/{gate}.json", Body=body, ContentType="application/json")
    return address(name, gate, settings)


def tally(outcomes: Sequence[Any]) -> dict[str, bool | int]:
    """Return a gate's verdict in figures: a warning is shown and stops nothing, no outcome at all is not a pass."""
    failed = [outcome for outcome in outcomes if not outcome.success]
    fatal = sum(is_fatal(outcome) for outcome in failed)
    counts = {"n_expectations": len(outcomes), "n_failed": fatal, "n_warned": len(failed) - fatal}
    return {"success": bool(outcomes) and not fatal, **counts}


def is_fatal(outcome: Any) -> bool:  # noqa: ANN401 (GX has no type for it)
    """Tell whether a failure of this expectation stops the batch; otherwise it warns."""
    severity = outcome.expectation_config.severity
    return bool(getattr(severity, "value", severity) == "critical")


def address(name: str, gate: str, settings: Settings) -> str:
    """Return the address of a gate's page on the docs site."""
    return f"{settings.page('docs')}/gx/{name}/{gate}.html"


def render(result: ExpectationSuiteValidationResult) -> str:
    """Return Great Expectations' page of a validation result."""
    return str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result)))  # type: ignore[no-untyped-call]


def offline(page: str, title: str) -> str:
    """Return the page with our copies of what it loads from other hosts, and its place on the docs site."""
    own = FOOTER.sub("", PICTURE.sub("", LOADED.sub(_copy, page)))
    return CRUMBS.sub(rf'<a href="../../">Documentation</a>\1aria-current="page">{html.escape(title)}<', own)


def _copy(found: re.Match[str]) -> str:
    for part, file in COPIES.items():
        if part in found[1]:
            if file.endswith(".css"):
                return f'<link rel="stylesheet" href="../../static/{file}">'
            return f'<script src="../../static/{file}"></script>'
    return ""


@cache
def _stored(endpoint: str, bucket: str) -> set[str]:
    """Remember per process that the copies are in the bucket."""
    return set()


def _store_static(settings: Settings) -> None:
    done = _stored(settings.s3_endpoint_url, settings.s3_pipeline_bucket)
    s3 = storage.client(settings)
    for path in sorted(STATIC.rglob("*")):
        key = f"docs/static/{path.relative_to(STATIC).as_posix()}"
        if path.is_file() and key not in done:
            kind = TYPES.get(path.suffix, "application/octet-stream")
            s3.put_object(Bucket=settings.s3_pipeline_bucket, Key=key, Body=path.read_bytes(), ContentType=kind)
            done.add(key)
