"""The two gates of a batch.

A gate evaluates expectations in SQL on the rows of one batch, stores a page of the outcomes on the
docs site, and rejects the batch when one of them failed.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from great_expectations.core import ExpectationValidationResult

from expectations import gate_queries, gx_validation, pages, profiles, publish_suite, raw_suite
from expectations.gx_validation import Check
from readmit.batches.builds import Build
from readmit.contract.definition import Contract
from readmit.errors import BatchRejected
from readmit.settings import PipelineSettings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

log = logging.getLogger("expectations")

N_NAMED = 5  # failed expectations that the error names
MAX_LENGTH = 160  # characters of a limit


@dataclass(frozen=True)
class GateResult:
    """The result of a gate that a batch passed."""

    batch_id: str
    gate: str
    n_expectations: int
    failed: tuple[str, ...]
    warnings: tuple[str, ...]
    page: str


def check_raw(batch_id: str, settings: PipelineSettings) -> GateResult:
    """Check a batch as it arrived, against the ledger and earlier batches.

    A published batch is not checked again: the batches that it would be compared with may be
    later ones by now.

    Raises:
        BatchRejected: an expectation failed that is more than a warning; names them and the page.
    """
    if gate_queries.is_visible(Build.of_batch(batch_id), settings):
        return GateResult(batch_id, "raw", 0, (), (), pages.address(batch_id, "raw", settings))
    n_rows = gate_queries.n_rows_of(batch_id, settings)
    log.info("raw gate, batch %s: %d rows in landing.encounters", batch_id, n_rows)
    checks = [Check(raw_suite.build(n_rows), gate_queries.raw_rows(batch_id, settings))]
    profile = profiles.measure(batch_id, raw_suite.WATCHED, settings)
    if n_rows >= raw_suite.SMALL:
        earlier = profiles.before(batch_id, settings)
        distances = {}
        for column in raw_suite.WATCHED:
            distances[column] = profiles.distance(profile[column], earlier.get(column, {}))
        checks.append(Check(raw_suite.drift(), gate_queries.one_row(distances)))
    outcomes = gx_validation.evaluate(checks, "publisher", settings.raw_database, settings)
    result = _conclude(batch_id, "raw", outcomes, settings)
    profiles.store(batch_id, profile, settings)
    return result


def check_publish(build: Build, settings: PipelineSettings) -> GateResult:
    """Check what a build made of a batch, against the contract and the number of rows that arrived.

    A published build is not checked again: later builds have replaced some of its rows.

    Args:
        build: the build.
        settings: where the databases are.

    Raises:
        BatchRejected: an expectation failed; names them and the page.
    """
    build_id = build.build_id
    if gate_queries.is_visible(build, settings):
        page = pages.address(build_id, "publish", settings)
        return GateResult(build_id, "publish", 0, (), (), page)
    # Airflow's tasks have dbt's files in a folder of their own; without it, the project has them.
    target = os.environ.get("DBT_TARGET_PATH")
    contract = Contract.from_manifest(Path(target, "manifest.json") if target else None)
    counts = gate_queries.counts(build, settings)
    log.info("publish gate, build %s: rows by verdict %s", build_id, dict(counts))
    feature_suite = publish_suite.features(contract, int(counts["n_valid"]))
    checks = [Check(feature_suite, gate_queries.feature_rows(build, settings))]
    # A correction adds rows to a batch whose accounting was checked when it was published.
    if build_id == build.batch_id:
        max_share = publish_suite.max_quarantined(int(counts["n_raw"]))
        reasons = gate_queries.frequent_reasons(build, settings)
        accounting = publish_suite.accounting(reasons, max_share)
        checks.append(Check(accounting, gate_queries.one_row(counts)))
    outcomes = gx_validation.evaluate(checks, "transformer", settings.clean_database, settings)
    return _conclude(build_id, "publish", outcomes, settings)


def _conclude(
    name: str,
    gate: str,
    outcomes: Sequence[ExpectationValidationResult],
    settings: PipelineSettings,
) -> GateResult:
    """Store the page and push the gauges, then return the result or raise."""
    page = pages.store(name, gate, outcomes, settings)
    pushgateway.report(Job.INGEST, lambda: gauges(outcomes), settings, {"gate": gate})
    return judge(name, gate, outcomes, page)


def gauges(outcomes: Sequence[ExpectationValidationResult]) -> pushgateway.GaugeValues:
    """Return the verdict of a gate as gauges."""
    tally = pages.tally(outcomes)
    n_not_passed = tally["n_failed"] + tally["n_warned"]
    return {
        "readmit_gate_passed": float(tally["success"]),
        "readmit_gate_checks": {
            "warned": tally["n_warned"],
            "failed": tally["n_failed"],
            "passed": tally["n_expectations"] - n_not_passed,
        },
    }


def judge(
    name: str, gate: str, outcomes: Sequence[ExpectationValidationResult], page: str
) -> GateResult:
    """Return the result of a gate.

    Raises:
        BatchRejected: an expectation failed that is more than a warning, or nothing was evaluated.
    """
    fatal: list[str] = []
    warnings: list[str] = []
    for outcome in outcomes:
        if outcome.success:
            continue
        if pages.is_fatal(outcome):
            fatal.append(describe(outcome))
        else:
            warnings.append(describe(outcome))
    for warning in warnings:
        log.warning("%s gate, batch %s: %s", gate, name, warning)
    if not outcomes:
        raise BatchRejected(f"{gate} gate: batch {name}: nothing was evaluated (details: {page})")
    if fatal:
        reasons = "; ".join(fatal[:N_NAMED])
        if len(fatal) > N_NAMED:
            reasons += f" and {len(fatal) - N_NAMED} more"
        raise BatchRejected(f"{gate} gate: batch {name}: {reasons} (details: {page})")
    log.info(
        "%s gate, batch %s: passed %d expectations, with %d warnings; page: %s",
        gate,
        name,
        len(outcomes) - len(warnings),
        len(warnings),
        page,
    )
    return GateResult(name, gate, len(outcomes), (), tuple(warnings), page)


def describe(outcome: ExpectationValidationResult) -> str:
    """Return one line about a failed expectation: the column, the expectation, what was observed.

    The outcome has no values of rows (`gx_validation.without_values`).

    Raises:
        ValueError: the outcome does not say which expectation it is about.
    """
    config = outcome.expectation_config
    if config is None:
        raise ValueError("an outcome without its expectation")
    prefix = ""
    if "column" in config.kwargs:
        prefix = f"{config.kwargs['column']}: "
    exception_info = outcome.exception_info or {}
    if exception_info.get("raised_exception"):
        error = exception_info["exception_message"]
        return f"{prefix}{config.type} could not be evaluated: {error}"
    arguments = {
        key: value for key, value in config.kwargs.items() if key not in ("batch_id", "column")
    }
    result = outcome.result or {}
    observed = f"found {_shortened(result.get('observed_value'))}"
    if "unexpected_percent" in result and result.get("unexpected_count"):
        n_rows = result.get("element_count")
        observed = f"{result['unexpected_count']} of {n_rows} rows do not fit"
    line = f"{prefix}{config.type} {_shortened(arguments)}: {observed}"
    if config.description:
        line += f" ({config.description})"
    return line


def _shortened(value: object) -> str:
    text = str(value)
    if len(text) > MAX_LENGTH:
        return text[: MAX_LENGTH - 1] + "…"
    return text
