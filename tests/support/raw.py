"""What the tests of the raw part need to talk to a private Postgres and S3."""

from typing import Any

from readmit import db
from readmit.settings import StackSettings
from tests.support.services import ROLES, environment, fresh

__all__ = [
    "ROLES",
    "environment",
    "fresh",
    "ledger_rows",
    "query",
    "stand_in_build",
    "stand_in_release",
    "stand_in_tables",
]


def query(
    settings: StackSettings,
    database: str,
    statement: str,
    *arguments: object,
    role: db.Role = "postgres",
) -> list[Any]:
    with db.transaction(role, database, settings) as connection, connection.cursor() as cur:
        cur.execute(statement, arguments or None)
        return cur.fetchall() if cur.description else []


def ledger_rows(settings: StackSettings) -> dict[str, str]:
    return dict(
        query(settings, settings.raw_database, "select batch_id, status from landing.batches")
    )


# The columns of dbt's relations that publishing looks at.
DBT_TABLES = """
    create table staging.stg_uci__encounters (
        _build_id text, _batch_id text, _source_row bigint, verdict text, reason text
    );
    create table intermediate.int_encounters__features (
        encounter_id bigint, patient_nbr bigint, _batch_id text, _build_id text
    );
    create view quarantine.encounters as
    select held._batch_id, held._source_row, held.reason, released.released_at
    from staging.stg_uci__encounters as held
    left join (
        select passed._batch_id, passed._source_row, published.published_at as released_at
        from staging.stg_uci__encounters as passed
        inner join ops.published_batches as published on passed._build_id = published.build_id
        where passed.verdict <> 'quarantined'
    ) as released on held._batch_id = released._batch_id and held._source_row = released._source_row
    where held.verdict = 'quarantined';
"""


def stand_in_tables(settings: StackSettings) -> None:
    query(settings, settings.clean_database, DBT_TABLES, role="transformer")


BUILD = """
    delete from intermediate.int_encounters__features where _build_id = %(batch)s;
    delete from staging.stg_uci__encounters where _build_id = %(batch)s;
    insert into staging.stg_uci__encounters
    select
        _batch_id, _batch_id, _source_row, case when place > %(n_held)s then 'valid' else 'quarantined' end,
        'age is not a band'
    from (
        select _batch_id, _source_row, row_number() over (order by _source_row) as place
        from raw.encounters where _batch_id = %(batch)s
    ) as arrived;
    insert into intermediate.int_encounters__features
    select encounter_id::bigint, patient_nbr::bigint, _batch_id, _batch_id
    from (
        select encounter_id, patient_nbr, _batch_id, row_number() over (order by _source_row) as place
        from raw.encounters where _batch_id = %(batch)s
    ) as arrived
    where place > %(n_held)s;
"""


def stand_in_build(settings: StackSettings, batch_id: str, n_held: int = 0) -> None:
    """Do what dbt does to a batch, as far as publishing is concerned; the first `n_held` rows are held back."""
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(BUILD, {"batch": batch_id, "n_held": n_held})


RELEASE = """
    delete from intermediate.int_encounters__features where _build_id = %(build)s;
    delete from staging.stg_uci__encounters where _build_id = %(build)s;
    insert into staging.stg_uci__encounters
    select build_id, batch_id, source_row, %(verdict)s, null from ops.corrections where build_id = %(build)s;
    insert into intermediate.int_encounters__features
    select arrived.encounter_id::bigint, arrived.patient_nbr::bigint, arrived._batch_id, %(build)s
    from raw.encounters as arrived
    where
        %(verdict)s = 'valid' and (arrived._batch_id, arrived._source_row) in (
            select batch_id, source_row from ops.corrections where build_id = %(build)s
        );
"""


def stand_in_release(settings: StackSettings, build_id: str, verdict: str = "valid") -> None:
    """Do what dbt does to a release whose rows all get this verdict."""
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(RELEASE, {"build": build_id, "verdict": verdict})
