"""Data docs: Great Expectations' own page for each gate of a batch, stored in S3.

Each gate writes one page and rebuilds none: the thirtieth batch costs as much as the first. The
page loads nothing from other hosts: our `templates/page.j2` takes the place of Great Expectations'
template and names the copies in `static/`.
"""

import html
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import great_expectations as gx
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader

from readmit import storage
from readmit.settings import PipelineSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
PREFIX = "docs/gx"
STATIC_PREFIX = "docs/static/"
CONTENT_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".txt": "text/plain",
}


class Tally(TypedDict):
    """The verdict of a gate in numbers."""

    success: bool
    n_expectations: int
    n_failed: int
    n_warned: int


def store(
    name: str,
    gate: str,
    outcomes: Sequence[ExpectationValidationResult],
    settings: PipelineSettings,
) -> str:
    """Store the page of a gate, and its verdict as JSON.

    Returns the address of the page on the docs site.

    Args:
        name: the batch, or the build of a correction.
        gate: `raw` or `publish`.
        outcomes: what Great Expectations returned for each expectation.
        settings: where the object store and the docs site are.
    """
    s3 = storage.client("gates", settings)
    _store_static_files(s3, settings)
    key = f"{PREFIX}/{name}/{gate}"
    s3.put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"{key}.html",
        Body=render(name, gate, outcomes).encode(),
        ContentType="text/html; charset=utf-8",
    )
    verdict = {
        "batch_id": name,
        "gate": gate,
        **tally(outcomes),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    s3.put_object(
        Bucket=settings.s3_pipeline_bucket,
        Key=f"{key}.json",
        Body=json.dumps(verdict).encode(),
        ContentType="application/json",
    )
    return address(name, gate, settings)


def tally(outcomes: Sequence[ExpectationValidationResult]) -> Tally:
    """Count the outcomes of a gate.

    A warning does not stop the batch. A gate that evaluated nothing has not passed.
    """
    n_failed = 0
    n_warned = 0
    for outcome in outcomes:
        if outcome.success:
            continue
        if is_fatal(outcome):
            n_failed += 1
        else:
            n_warned += 1
    return {
        "success": len(outcomes) > 0 and n_failed == 0,
        "n_expectations": len(outcomes),
        "n_failed": n_failed,
        "n_warned": n_warned,
    }


def is_fatal(outcome: ExpectationValidationResult) -> bool:
    """Return whether a failure of this expectation rejects the batch; otherwise it is a warning."""
    config = outcome.expectation_config
    return config is not None and config.severity == FailureSeverity.CRITICAL


def address(name: str, gate: str, settings: PipelineSettings) -> str:
    """Return the address of a gate's page on the docs site."""
    return f"{settings.page('docs')}/gx/{name}/{gate}.html"


def render(name: str, gate: str, outcomes: Sequence[ExpectationValidationResult]) -> str:
    """Return Great Expectations' page of a gate as HTML, in our frame."""
    n_expectations = len(outcomes)
    n_successful = sum(bool(outcome.success) for outcome in outcomes)
    success_percent = 100 * n_successful / n_expectations if n_expectations else None
    result = ExpectationSuiteValidationResult(
        success=n_successful == n_expectations,
        results=[_with_escaped_values(outcome) for outcome in outcomes],
        suite_name=gate,
        statistics={
            "evaluated_expectations": n_expectations,
            "successful_expectations": n_successful,
            "unsuccessful_expectations": n_expectations - n_successful,
            "success_percent": success_percent,
        },
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": {
                "run_name": name,
                "run_time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        },
    )
    document = ValidationResultsPageRenderer().render(result)
    # The overview links to pages of the suite and the data asset, which only a whole data-docs site
    # has.
    overview = document.sections[0].content_blocks[0].subheader.string_template
    overview["template"] = (
        "${suite_title} ${expectation_suite_name}\n ${status_title} ${html_success_icon} ${success}"
    )
    del overview["styling"]["params"]["expectation_suite_name"]
    view = DefaultJinjaPageView()
    # Our `page.j2` is found first; the parts that it includes are those of Great Expectations.
    parts = view.env.loader or BaseLoader()
    view.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), parts])
    return str(view.render(document, title=f"{name}: {gate} gate"))  # type: ignore[no-untyped-call]


def _with_escaped_values(outcome: ExpectationValidationResult) -> ExpectationValidationResult:
    """Return the outcome with its values escaped for HTML.

    Great Expectations escapes the parameters of an expectation, but not the values that it found
    in the data.
    """
    return ExpectationValidationResult(
        success=outcome.success,
        expectation_config=outcome.expectation_config,
        result=_escaped(outcome.result),
        meta=outcome.meta,
        exception_info=_escaped(outcome.exception_info),
    )


def _escaped(value: Any) -> Any:  # noqa: ANN401 (JSON: the same shape comes back)
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value


def _store_static_files(s3: "S3Client", settings: PipelineSettings) -> None:
    """Store the files of `static/` that the bucket does not have yet.

    Each gate is a process of its own, so it cannot know whether an earlier one stored them.
    """
    stored = s3.list_objects_v2(Bucket=settings.s3_pipeline_bucket, Prefix=STATIC_PREFIX)
    stored_sizes = {item["Key"]: item["Size"] for item in stored.get("Contents", [])}
    for path in sorted(STATIC.rglob("*")):
        if path.is_dir():
            continue
        key = STATIC_PREFIX + path.relative_to(STATIC).as_posix()
        if stored_sizes.get(key) == path.stat().st_size:
            continue
        s3.put_object(
            Bucket=settings.s3_pipeline_bucket,
            Key=key,
            Body=path.read_bytes(),
            ContentType=CONTENT_TYPES.get(path.suffix, "application/octet-stream"),
        )
