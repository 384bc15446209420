"""Evaluate suites of Great Expectations on queries of our Postgres."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import great_expectations as gx
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationValidationResult
from great_expectations.core.result_format import ResultFormatUnion
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.datasource.fluent.interfaces import Batch
from great_expectations.expectations.expectation import ColumnMapExpectation, Expectation

from readmit import db
from readmit.settings import PipelineSettings

# The class of an error in a message of SQLAlchemy: `(psycopg2.errors.DivisionByZero) ...`
ERROR_NAME = re.compile(r"^\((?:\w+\.)*(\w+)\)")
# What an outcome keeps of its result. Values of rows are in quarantine only, where few may look.
COUNTS = (
    "element_count",
    "missing_count",
    "missing_percent",
    "unexpected_count",
    "unexpected_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
)

# It sets its own level when it is imported, and announces the folder of a site that nobody writes.
logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)


class Check(NamedTuple):
    """A suite and the query that returns the rows to evaluate it on."""

    suite: ExpectationSuite
    query: str


def evaluate(
    checks: Sequence[Check], role: db.Role, database: str, settings: PipelineSettings
) -> list[ExpectationValidationResult]:
    """Evaluate each suite on its query, logged in as `role`.

    The context of Great Expectations lives in memory, so that no password is written to a file.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    url = db.url(role, database, settings)
    source = context.data_sources.add_postgres(
        "postgres", connection_string=url.replace("postgresql://", "postgresql+psycopg2://", 1)
    )
    outcomes: list[ExpectationValidationResult] = []
    try:
        for suite, query in checks:
            asset = source.add_query_asset(suite.name, query=query)
            batch = asset.add_batch_definition_whole_table("batch").get_batch()
            outcomes += _evaluate_on_batch(batch, suite.expectations)
    finally:
        source.get_execution_engine().close()
    return [without_values(outcome) for outcome in outcomes]


def without_values(outcome: ExpectationValidationResult) -> ExpectationValidationResult:
    """Return an outcome with counts and names of columns, and no value of a row.

    Pages, reasons, logs and messages are all made of such outcomes.
    """
    config = outcome.expectation_config
    is_about_table = config is not None and config.type.startswith("expect_table_")
    counts: dict[str, object] = {}
    for name, value in (outcome.result or {}).items():
        if name in COUNTS:
            counts[name] = value
        elif name != "observed_value":
            continue
        elif value is None or isinstance(value, int | float) or is_about_table:
            counts[name] = value  # a number, or the names of columns
        elif isinstance(value, list | tuple | set):
            counts[name] = f"{len(value)} different values"
        else:
            counts[name] = "a value that is not shown"
    return ExpectationValidationResult(
        success=outcome.success,
        expectation_config=outcome.expectation_config,
        result=counts,
        meta=outcome.meta,
        exception_info=_without_message(outcome.exception_info or {}),
    )


def _without_message(exception_info: Mapping[str, object]) -> dict[str, object]:
    """Return which error an expectation raised, without its message: SQL errors repeat values.

    Great Expectations has one error by expectation, or one for each of the metrics that it
    computes.
    """
    errors: list[Mapping[str, object]] = [exception_info]
    errors += [error for error in exception_info.values() if isinstance(error, dict)]
    for error in errors:
        if error.get("raised_exception"):
            name = ERROR_NAME.search(str(error.get("exception_message")))
            return {
                "raised_exception": True,
                "exception_message": name.group(1) if name else "an error",
                "exception_traceback": "",
            }
    return {"raised_exception": False, "exception_message": None, "exception_traceback": None}


def _evaluate_on_batch(
    batch: Batch, expectations: Sequence[Expectation]
) -> list[ExpectationValidationResult]:
    """Evaluate expectations; those on single values first all at once.

    Great Expectations runs several queries for each expectation on single values. So these are
    first evaluated as if every row had to meet them (`mostly` = 1), in one query for all of them.
    Only those that some row does not meet are evaluated again, as they are written.
    """
    strict: list[Expectation] = []
    for index, expectation in enumerate(expectations):
        if isinstance(expectation, ColumnMapExpectation):
            strict.append(expectation.copy(update={"mostly": 1, "meta": {"index": index}}))
    met_by_every_row = set()
    for outcome in _validate(batch, strict, "BOOLEAN_ONLY"):
        config = outcome.expectation_config
        if outcome.success and config is not None and config.meta is not None:
            met_by_every_row.add(int(config.meta["index"]))

    remaining: list[Expectation] = []
    outcomes_without_failures: list[ExpectationValidationResult] = []
    for index, expectation in enumerate(expectations):
        if index not in met_by_every_row:
            remaining.append(expectation)
            continue
        outcome = ExpectationValidationResult(
            success=True,
            expectation_config=expectation.configuration,
            result={"unexpected_count": 0, "unexpected_percent": 0.0},
        )
        outcomes_without_failures.append(outcome)
    summary = {"result_format": "SUMMARY", "partial_unexpected_count": 0}
    return [*_validate(batch, remaining, summary), *outcomes_without_failures]


def _validate(
    batch: Batch, expectations: list[Expectation], result_format: ResultFormatUnion
) -> list[ExpectationValidationResult]:
    if not expectations:
        return []
    suite = ExpectationSuite(name="part", expectations=expectations)
    return list(batch.validate(suite, result_format=result_format).results)
