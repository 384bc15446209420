"""Data docs: Great Expectations' own page for each gate of a batch, made to work offline, stored in S3.

A page per batch and gate and no rebuild of older ones: the thirtieth batch costs what the first did.
"""

import html
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import great_expectations as gx
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from readmit import storage
from readmit.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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
LOADED = re.compile(
    r"<(?:script|link)\b[^>]*(?:src|href)=\"(https?://[^\"]+)\"[^>]*>(?:\s*</script>)?"
)
FOOTER = re.compile(r"<footer>.*?</footer>", re.DOTALL)  # an advertisement
CRUMBS = re.compile(r'<a href="[^"]*index.html">Home</a>(.*?)aria-current="page">[^<]*<', re.DOTALL)
# Links to pages of a whole data-docs site, which a single page does not have beside it.
ELSEWHERE = re.compile(
    r'<a href="[^"]*/expectations/[^"]*" ?>(.*?)</a><br> *Data asset: None|<link[^>]*favicon[^>]*>'
)
PICTURE = re.compile(r"<img\b[^>]*src=\"https?://[^>]*>")
TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2", ".txt": "text/plain"}


def store(
    name: str, gate: str, outcomes: Sequence[ExpectationValidationResult], settings: Settings
) -> str:
    """Write the page of a gate and its verdict; returns the address of the page on the docs site."""
    s3, bucket = storage.client(settings), settings.s3_pipeline_bucket
    _store_static(s3, settings)
    page = offline(render(name, gate, outcomes), f"{name}: {gate} gate").encode()
    key = f"{PREFIX}/{name}/{gate}"
    s3.put_object(
        Bucket=bucket, Key=f"{key}.html", Body=page, ContentType="text/html; charset=utf-8"
    )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    verdict = json.dumps({"batch_id": name, "gate": gate, **tally(outcomes), "at": at}).encode()
    s3.put_object(Bucket=bucket, Key=f"{key}.json", Body=verdict, ContentType="application/json")
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


def render(name: str, gate: str, outcomes: Sequence[ExpectationValidationResult]) -> str:
    """Return Great Expectations' page of a gate: what was found on the batch's rows and about the batch, in one."""
    n, held = len(outcomes), sum(bool(outcome.success) for outcome in outcomes)
    result = ExpectationSuiteValidationResult(
        success=n == held,
        results=[_inert(outcome) for outcome in outcomes],
        suite_name=gate,
        statistics={
            "evaluated_expectations": n,
            "successful_expectations": held,
            "unsuccessful_expectations": n - held,
            "success_percent": 100 * held / n if n else None,
        },
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": {
                "run_name": name,
                "run_time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        },
    )
    return str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result)))  # type: ignore[no-untyped-call]


def _inert(outcome: ExpectationValidationResult) -> ExpectationValidationResult:
    """Return the outcome with its values as HTML: Great Expectations puts them into the page as the file has them."""
    return ExpectationValidationResult(
        success=outcome.success,
        expectation_config=outcome.expectation_config,
        result=_escaped(outcome.result),
        meta=outcome.meta,
        exception_info=_escaped(outcome.exception_info),
    )


def _escaped(found: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(found, str):
        return html.escape(found)
    if isinstance(found, dict):
        return {key: _escaped(value) for key, value in found.items()}
    return [_escaped(value) for value in found] if isinstance(found, list | tuple) else found


def offline(page: str, title: str) -> str:
    """Return the page with our copies of what it loads from other hosts, and its place on the docs site."""
    own = FOOTER.sub(
        "", PICTURE.sub("", ELSEWHERE.sub(lambda found: found[1] or "", LOADED.sub(_copy, page)))
    )
    return CRUMBS.sub(
        rf'<a href="../../">Documentation</a>\1aria-current="page">{html.escape(title)}<', own
    )


def _copy(found: re.Match[str]) -> str:
    for part, file in COPIES.items():
        if part in found[1]:
            if file.endswith(".css"):
                return f'<link rel="stylesheet" href="../../static/{file}">'
            return f'<script src="../../static/{file}"></script>'
    return ""


def _store_static(s3: "S3Client", settings: Settings) -> None:
    """Put our copies into the bucket, unless they are there: each gate is a process of its own."""
    bucket, prefix = settings.s3_pipeline_bucket, "docs/static/"
    there = {
        item["Key"]: item["Size"]
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    }
    for path in (found for found in sorted(STATIC.rglob("*")) if found.is_file()):
        key = prefix + path.relative_to(STATIC).as_posix()
        if there.get(key) != path.stat().st_size:
            kind = TYPES.get(path.suffix, "application/octet-stream")
            s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), ContentType=kind)
