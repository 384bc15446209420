"""What dbt leaves of a batch, as far as publishing looks at it: made in SQL, in milliseconds."""

from readmit import db
from readmit.settings import StackSettings

# The columns of dbt's relations that publishing looks at.
TABLES = """
    create table staging.stg_uci__encounters (
        _build_id text, _batch_id text, _source_row bigint, verdict text, reason text,
        encounter_id bigint
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
BUILD = """
    delete from intermediate.int_encounters__features where _build_id = %(batch)s;
    delete from staging.stg_uci__encounters where _build_id = %(batch)s;
    insert into staging.stg_uci__encounters
    select
        _batch_id,
        _batch_id,
        _source_row,
        case when position > %(n_quarantined)s then 'valid' else 'quarantined' end,
        'age is not a band',
        encounter_id::bigint
    from (
        select
            _batch_id, _source_row, encounter_id,
            row_number() over (order by _source_row) as position
        from raw.encounters where _batch_id = %(batch)s
    ) as arrived;
    insert into intermediate.int_encounters__features
    select encounter_id::bigint, patient_nbr::bigint, _batch_id, _batch_id
    from (
        select
            encounter_id, patient_nbr, _batch_id,
            row_number() over (order by _source_row) as position
        from raw.encounters where _batch_id = %(batch)s
    ) as arrived
    where position > %(n_quarantined)s;
"""


def create_tables(settings: StackSettings) -> None:
    """Create the relations that a first run of dbt would create."""
    run(settings, TABLES)


def build(settings: StackSettings, batch_id: str, n_quarantined: int = 0) -> None:
    """Build a batch: its first `n_quarantined` rows are quarantined, the others are features."""
    run(settings, BUILD, {"batch": batch_id, "n_quarantined": n_quarantined})


def run(settings: StackSettings, statements: str, values: dict[str, object] | None = None) -> None:
    """Run statements in the clean database as dbt's role."""
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(statements, values)
