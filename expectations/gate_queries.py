"""The SQL of the gates: which rows they evaluate, and the counts that they compare.

What dbt has built is read as dbt's role: a function in a view runs with the rights of the role that
reads the view, and `publisher` may publish.
"""

from collections.abc import Mapping

from psycopg2 import sql

from expectations import raw_suite
from readmit import db
from readmit.batches.builds import Build
from readmit.intake.layout import LANDING_COLUMNS
from readmit.settings import PipelineSettings

N_REASONS = 3  # reasons for quarantine that the error names
# Rows of a build; `n_valid` are the stays of its patients without those that a correction replaces.
COUNTS = """
    select
        count(*) as n_staging,
        (select count(*) from {staging} as stays
         where
            _batch_id = %(batch)s and verdict = 'valid'
            and (
                _build_id = %(build)s
                or _build_id in (
                    select build_id from {published_builds} where batch_id = %(batch)s
                )
                and not exists (
                    select from {staging} as own
                    where
                        own._build_id = %(build)s and own.verdict <> 'quarantined'
                        and own._source_row = stays._source_row
                )
            )
            and patient_nbr in (
                select versions.patient_nbr
                from {staging} as own
                inner join {staging} as versions using (_source_row)
                where
                    own._build_id = %(build)s and own.verdict <> 'quarantined'
                    and versions._batch_id = %(batch)s and versions.verdict <> 'quarantined'
            )) as n_valid,
        count(*) filter (where verdict = 'quarantined') as n_quarantined,
        count(*) filter (where verdict = 'excluded') as n_excluded,
        (select count(*) from {features}
         where _build_id = %(build)s and _batch_id = %(batch)s) as n_features
    from {staging}
    where _build_id = %(build)s and _batch_id = %(batch)s
"""


def n_rows_of(batch_id: str, settings: PipelineSettings) -> int:
    """Return the number of rows that a batch has in RAW by the ledger.

    Raises:
        LookupError: the batch is not in the ledger.
    """
    with db.transaction("publisher", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            "select n_rows - n_erased from landing.batches where batch_id = %s", (batch_id,)
        )
        row = cur.fetchone()
    if row is None:
        raise LookupError(f"batch {batch_id} is not in the ledger")
    return int(row[0])


def is_visible(build: Build, settings: PipelineSettings) -> bool:
    """Return whether a build is published, or verified when it is a rebuild."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            f"select 1 from {build.published_builds} where build_id = %s",  # noqa: S608
            (build.build_id,),
        )
        return cur.fetchone() is not None


def raw_rows(batch_id: str, settings: PipelineSettings) -> str:
    """Return the query of the rows of a batch in RAW.

    The token of the source for a missing value, `?`, becomes null.
    """
    columns = [f"nullif({name}, '?') as {name}" for name in LANDING_COLUMNS]
    selected = ", ".join([*columns, *raw_suite.BOOKKEEPING])
    query = f"select {selected} from landing.encounters"  # noqa: S608 (our own names)
    return _with_literals(query + " where _batch_id = {}", settings, batch_id)


def feature_rows(build: Build, settings: PipelineSettings) -> str:
    """Return the query of the feature rows that a build made of a batch."""
    query = (
        f"select * from intermediate{build.schema_suffix}.int_encounters__features"  # noqa: S608
        " where _build_id = {} and _batch_id = {}"
    )
    return _with_literals(query, settings, build.build_id, build.batch_id)


def _with_literals(statement: str, settings: PipelineSettings, *values: str) -> str:
    """Return a statement with quoted values: Great Expectations takes text, not parameters."""
    literals = map(sql.Literal, values)
    with db.transaction("publisher", settings.clean_database, settings) as clean:
        return sql.SQL(statement).format(*literals).as_string(clean)


def one_row(values: Mapping[str, float]) -> str:
    """Return the query of a table of one row, exact to the last digit.

    A single lost row of ten million must show.
    """
    columns = [f"{float(value)!r}::float8 as {name}" for name, value in values.items()]
    return "select " + ", ".join(columns)


def counts(build: Build, settings: PipelineSettings) -> dict[str, float]:
    """Return the number of rows of a build at each layer.

    `n_valid` are the stays that the build writes. It writes all stays of its patients, so the
    build of a correction writes more rows of its batch than it corrects.
    """
    statement = COUNTS.format(
        staging=f"staging{build.schema_suffix}.stg_uci__encounters",
        features=f"intermediate{build.schema_suffix}.int_encounters__features",
        published_builds=build.published_builds,
    )
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(statement, {"build": build.build_id, "batch": build.batch_id})
        names = [column.name for column in cur.description or ()]
        by_layer: dict[str, float] = dict(zip(names, cur.fetchone() or (), strict=True))
    n_raw = n_rows_of(build.batch_id, settings)
    return {
        **by_layer,
        "n_raw": n_raw,
        "n_accounted": (
            by_layer["n_features"] + by_layer["n_quarantined"] + by_layer["n_excluded"]
        ),
        "share_quarantined": by_layer["n_quarantined"] / max(1, n_raw),
    }


def frequent_reasons(build: Build, settings: PipelineSettings) -> str:
    """Return the rules that quarantine most rows of a build, as text for the error.

    The error must name them: the quarantined rows of a rejected build are gone when somebody reads
    it.
    """
    statement = f"""
        select rule, count(*), min(_source_row)
        from staging{build.schema_suffix}.stg_uci__encounters
        cross join unnest(string_to_array(reason, '; ')) as rule
        where _build_id = %s and verdict = 'quarantined'
        group by rule order by count(*) desc, rule limit %s
    """  # noqa: S608 (our own names)
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(statement, (build.build_id, N_REASONS))
        reasons = [
            f"from row {first_row} on (rows: {n}): {rule}" for rule, n, first_row in cur.fetchall()
        ]
    return ", ".join(reasons)
