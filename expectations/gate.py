"""The two gates of a batch. Each evaluates in SQL on the rows of that batch only, asserts the result itself, and leaves
a page on the docs site whether it passes or not.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.datasource.fluent.interfaces import Batch
from great_expectations.expectations.expectation import ColumnMapExpectation, Expectation
from psycopg2 import sql

from expectations import pages, profiles, publish_suite, raw_suite
from readmit import db
from readmit.contract.definition import Contract
from readmit.errors import BatchRejected
from readmit.intake.layout import LANDING_COLUMNS
from readmit.settings import Settings
from readmit.telemetry import pushgateway
from readmit.telemetry.metrics import Job

log = logging.getLogger("expectations")

EXAMPLES = 10  # failing values shown on a page
NAMED = 5  # failed expectations named in the error
REASONS = 3  # reasons of quarantine named in the error


@dataclass(frozen=True)
class GateResult:
    """What a gate found."""

    batch_id: str
    gate: str
    n_expectations: int
    failed: tuple[str, ...]
    warnings: tuple[str, ...]
    page: str


def check_raw(batch_id: str, settings: Settings | None = None) -> GateResult:
    """Check a batch as it arrived, against the ledger and the batches before.

    Raises:
        BatchRejected: an expectation that is not a mere warning failed; names them and the page.
    """
    known = settings or Settings()
    if _is_published(
        batch_id, known
    ):  # the batches that it would be compared with may be later ones
        return GateResult(batch_id, "raw", 0, (), (), pages.address(batch_id, "raw", known))
    n_rows = _ledger_rows(batch_id, known)
    questions = [(raw_suite.build(n_rows), _raw_query(batch_id, known))]
    profile = profiles.measure(batch_id, raw_suite.WATCHED, known)
    if n_rows >= raw_suite.SMALL:
        before = profiles.before(batch_id, known)
        distances = {
            name: profiles.distance(profile[name], before.get(name, {}))
            for name in raw_suite.WATCHED
        }
        questions.append((raw_suite.drift(), as_query(distances)))
    result = _conclude(batch_id, "raw", _evaluate(questions, known.raw_database, known), known)
    profiles.store(batch_id, profile, known)
    return result


def check_publish(
    batch_id: str, build_id: str | None = None, settings: Settings | None = None
) -> GateResult:
    """Check what a build made of a batch, against the contract and the count of rows that arrived.

    Args:
        batch_id: the batch.
        build_id: the build; a batch's first build has the batch's name, a release has its own.
        settings: where the databases are.

    Raises:
        BatchRejected: an expectation failed; names them and the page.
    """
    known, build = settings or Settings(), build_id or batch_id
    if _is_published(build, known):  # later builds have replaced some of its rows since, rightly
        return GateResult(build, "publish", 0, (), (), pages.address(build, "publish", known))
    counts = _counts(batch_id, build, known)
    suite = publish_suite.features(_contract(), int(counts["n_valid"]))
    statement = "select * from intermediate.int_encounters__features where _build_id = {} and _batch_id = {}"
    questions = [(suite, _literal(known, statement, build, batch_id))]
    if (
        build == batch_id
    ):  # a release adds rows to a batch whose accounting was proven when it was published
        questions.append((publish_suite.accounting(_most_often(build, known)), as_query(counts)))
    return _conclude(build, "publish", _evaluate(questions, known.clean_database, known), known)


def _contract() -> Contract:
    target = os.environ.get("DBT_TARGET_PATH")
    return Contract.from_manifest(Path(target) / "manifest.json" if target else None)


# ---------------------------------------------------------------- what is looked at


def _ledger_rows(batch_id: str, settings: Settings) -> int:
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select n_rows from landing.batches where batch_id = %s", (batch_id,))
        found = cur.fetchone()
    if found is None:
        raise LookupError(f"batch {batch_id} is not in the ledger")
    return int(found[0])


def _is_published(build_id: str, settings: Settings) -> bool:
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
        return cur.fetchone() is not None


def _literal(settings: Settings, statement: str, *values: str) -> str:
    """Return a statement with quoted values: Great Expectations takes text, not parameters."""
    with db.transaction("publisher", settings.clean_database, settings) as clean:
        return sql.SQL(statement).format(*map(sql.Literal, values)).as_string(clean)


def _raw_query(batch_id: str, settings: Settings) -> str:
    """Return the batch's rows with the source's null token as null; same columns, same order."""
    columns = [f"nullif({name}, '?') as {name}" for name in LANDING_COLUMNS]
    wanted = ", ".join([*columns, *raw_suite.BOOKKEEPING])
    query = f"select {wanted} from landing.encounters where _batch_id = {{}}"  # noqa: S608 (our own columns)
    return _literal(settings, query, batch_id)


def _counts(batch_id: str, build_id: str, settings: Settings) -> dict[str, float]:
    """Return the counts of a build at each layer; `n_valid` are the stays that it writes.

    Those are all of its patients', so a release writes more of its batch than the rows that it corrects.
    """
    statement = """
        select
            count(*) as n_staging,
            (select count(*) from staging.stg_uci__encounters
             where
                _batch_id = %(batch)s and verdict = 'valid'
                and (
                    _build_id = %(build)s
                    or _build_id in (select build_id from ops.published_batches where batch_id = %(batch)s)
                )
                and patient_nbr in (
                    select patient_nbr from staging.stg_uci__encounters
                    where _build_id = %(build)s and verdict <> 'quarantined'
                )) as n_valid,
            count(*) filter (where verdict = 'quarantined') as n_quarantined,
            count(*) filter (where verdict = 'excluded') as n_excluded,
            (select count(*) from intermediate.int_encounters__features
             where _build_id = %(build)s and _batch_id = %(batch)s) as n_features
        from staging.stg_uci__encounters
        where _build_id = %(build)s and _batch_id = %(batch)s
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(statement, {"build": build_id, "batch": batch_id})
        names = [column.name for column in cur.description or ()]
        counts = dict(zip(names, cur.fetchone() or (), strict=True))
    n_raw = _ledger_rows(batch_id, settings)
    accounted = counts["n_features"] + counts["n_quarantined"] + counts["n_excluded"]
    share = counts["n_quarantined"] / max(1, n_raw)
    return {**counts, "n_raw": n_raw, "n_accounted": accounted, "share_quarantined": share}


def _most_often(build_id: str, settings: Settings) -> str:
    """Return the rules that hold most rows of a build back, for the reader of a no: those rows are gone by then."""
    statement = """
        select rule, count(*), min(_source_row) from staging.stg_uci__encounters
        cross join unnest(string_to_array(reason, '; ')) as rule
        where _build_id = %s and verdict = 'quarantined' group by rule order by count(*) desc, rule limit %s
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(statement, (build_id, REASONS))
        return ", ".join(
            f"from row {row} on (rows: {n}): {rule}" for rule, n, row in cur.fetchall()
        )


def as_query(counts: dict[str, float]) -> str:
    """Return figures as a table of one row, to the last digit: a lost row of ten million is a lost row."""
    return "select " + ", ".join(
        f"{float(value)!r}::float8 as {name}" for name, value in counts.items()
    )


# ---------------------------------------------------------------- evaluation


def _evaluate(
    questions: Sequence[tuple[ExpectationSuite, str]], database: str, settings: Settings
) -> list[ExpectationValidationResult]:
    """Evaluate each suite on its query. The context lives in memory, so that no password is written anywhere."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    address = db.url("publisher", database, settings).replace(
        "postgresql://", "postgresql+psycopg2://", 1
    )
    source = context.data_sources.add_postgres("postgres", connection_string=address)
    found: list[ExpectationValidationResult] = []
    try:
        for suite, query in questions:
            asset = source.add_query_asset(suite.name, query=query)
            found += _outcomes(
                asset.add_batch_definition_whole_table("batch").get_batch(), suite.expectations
            )
    finally:
        source.get_execution_engine().close()
    return found


def _outcomes(
    batch: Batch, expectations: Sequence[Expectation]
) -> list[ExpectationValidationResult]:
    """Evaluate expectations; those that hold for every row are counted only, in one query for all of them.

    Examples of failing values cost a query each, and there are none where every row fits. So every row is asked for
    first, also where some may fail (`mostly`); what does not hold so strictly is evaluated again, as it is meant.
    """
    counted: list[Expectation] = [
        expectation.copy(update={"mostly": 1, "meta": {"place": place}})
        for place, expectation in enumerate(expectations)
        if isinstance(expectation, ColumnMapExpectation)
    ]
    strict = _validate(batch, counted, "BOOLEAN_ONLY") if counted else []
    held = {outcome.expectation_config.meta["place"] for outcome in strict if outcome.success}
    rest = [expectation for place, expectation in enumerate(expectations) if place not in held]
    summary = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    return [
        *(_validate(batch, rest, summary) if rest else []),
        *(_every_row_fits(expectations[place]) for place in sorted(held)),
    ]


def _validate(batch: Batch, expectations: list[Expectation], result_format: Any) -> list[Any]:  # noqa: ANN401
    suite = ExpectationSuite(name="part", expectations=expectations)
    return list(batch.validate(suite, result_format=result_format).results)


def _every_row_fits(expectation: Expectation) -> ExpectationValidationResult:
    fits = {"unexpected_count": 0, "unexpected_percent": 0.0}
    return ExpectationValidationResult(
        success=True, expectation_config=expectation.configuration, result=fits
    )


def _conclude(
    name: str, gate: str, outcomes: list[ExpectationValidationResult], settings: Settings
) -> GateResult:
    """Store the page, then say yes or raise."""
    page = pages.store(name, gate, outcomes, settings)
    pushgateway.report(Job.INGEST, lambda: figures(outcomes), {"gate": gate}, settings)
    return judge(name, gate, outcomes, page)


def figures(outcomes: list[Any]) -> pushgateway.GaugeValues:
    """Return a gate's verdict as figures."""
    found = pages.tally(outcomes)
    checks = {"warned": found["n_warned"], "failed": found["n_failed"]}
    checks["passed"] = len(outcomes) - sum(checks.values())
    return {"readmit_gate_passed": float(found["success"]), "readmit_gate_checks": checks}


def judge(name: str, gate: str, outcomes: list[Any], page: str) -> GateResult:
    """Return the result of a gate; no outcome at all is not a pass.

    Raises:
        BatchRejected: an expectation failed that is not a mere warning, or nothing was evaluated.
    """
    failed = [outcome for outcome in outcomes if not outcome.success]
    fatal = [describe(outcome) for outcome in failed if pages.is_fatal(outcome)]
    warned = [describe(outcome) for outcome in failed if not pages.is_fatal(outcome)]
    for line in warned:
        log.warning("%s gate, batch %s: %s", gate, name, line)
    if fatal or not outcomes:
        more = f" and {len(fatal) - NAMED} more" if len(fatal) > NAMED else ""
        said = "; ".join(fatal[:NAMED]) or "nothing was evaluated"
        raise BatchRejected(f"{gate} gate: batch {name}: {said}{more} (details: {page})")
    return GateResult(name, gate, len(outcomes), tuple(fatal), tuple(warned), page)


def describe(outcome: Any) -> str:  # noqa: ANN401 (GX has no type for it)
    """Return one line for the reader of an error: column, what was expected, what was seen."""
    config, result = outcome.expectation_config, outcome.result or {}
    kwargs = {
        key: value for key, value in config.kwargs.items() if key not in ("batch_id", "column")
    }
    column = f"{config.kwargs['column']}: " if "column" in config.kwargs else ""
    if outcome.exception_info and (raised := _raised(outcome.exception_info)):
        return f"{column}{config.type} could not be evaluated: {raised}"
    if "unexpected_percent" in result and result.get("unexpected_count"):
        examples = [
            value for value in result.get("partial_unexpected_list", []) if value is not None
        ][:3]
        shown = f", such as {examples}" if examples else ""
        seen = (
            f"{result['unexpected_count']} of {result.get('element_count')} rows do not fit{shown}"
        )
    else:
        seen = f"found {_short(result.get('observed_value'))}"
    meaning = f" ({config.description})" if config.description else ""
    return f"{column}{config.type} {_short(kwargs)}: {seen}{meaning}"


def _raised(info: dict[str, Any]) -> str:
    if info.get("raised_exception"):
        return _short(info.get("exception_message"))
    messages = [each.get("exception_message") for each in info.values() if isinstance(each, dict)]
    return _short(messages[0]) if messages and messages[0] else ""


def _short(value: object, limit: int = 160) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
