"""Evaluate suites of Great Expectations on queries of our Postgres."""

from collections.abc import Sequence
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

N_EXAMPLES = 10  # failing values that a page shows


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
    return outcomes


def _evaluate_on_batch(
    batch: Batch, expectations: Sequence[Expectation]
) -> list[ExpectationValidationResult]:
    """Evaluate expectations; query examples of failing values only for those that fail.

    Great Expectations runs a query of its own for the examples of each expectation on single
    values. So these expectations are first evaluated on all rows without examples (`mostly` = 1),
    in one query for all of them. Only those that some row does not meet are evaluated again, as
    they are written.
    """
    met_by_every_row = _met_by_every_row(batch, expectations)
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
    summary = {"result_format": "SUMMARY", "partial_unexpected_count": N_EXAMPLES}
    return [*_validate(batch, remaining, summary), *outcomes_without_failures]


def _met_by_every_row(batch: Batch, expectations: Sequence[Expectation]) -> set[int]:
    """Return the indices of the expectations on single values that every row meets."""
    strict: list[Expectation] = []
    for index, expectation in enumerate(expectations):
        if isinstance(expectation, ColumnMapExpectation):
            strict.append(expectation.copy(update={"mostly": 1, "meta": {"index": index}}))
    indices = set()
    for outcome in _validate(batch, strict, "BOOLEAN_ONLY"):
        config = outcome.expectation_config
        if outcome.success and config is not None and config.meta is not None:
            indices.add(int(config.meta["index"]))
    return indices


def _validate(
    batch: Batch, expectations: list[Expectation], result_format: ResultFormatUnion
) -> list[ExpectationValidationResult]:
    if not expectations:
        return []
    suite = ExpectationSuite(name="part", expectations=expectations)
    return list(batch.validate(suite, result_format=result_format).results)
