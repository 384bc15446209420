"""What the tests of the raw part need to talk to a private Postgres and S3."""

from typing import Any

from bench import dbt_stand_in
from readmit import db
from readmit.batches import claims, loading
from readmit.batches.builds import Build
from readmit.settings import StackSettings
from tests.support.services import environment, fresh

__all__ = [
    "claim_batch",
    "correction",
    "environment",
    "fresh",
    "ledger_rows",
    "publish_all",
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
        if not cur.description:
            return []
        return cur.fetchall()


def ledger_rows(settings: StackSettings) -> dict[str, str]:
    rows = query(settings, settings.raw_database, "select batch_id, status from landing.batches")
    return dict(rows)


def claim_batch(dag_run_id: str, settings: StackSettings) -> str | None:
    """Claim the next build, which is a batch here; returns its id."""
    build = claims.claim(dag_run_id, settings)
    if build is None:
        return None
    assert build.kind == "batch"
    return build.batch_id


def correction(build_id: str) -> Build:
    """Return the build of corrected rows that has this name."""
    return Build(build_id, build_id.split("+")[0], "correction")


def stand_in_tables(settings: StackSettings) -> None:
    dbt_stand_in.create_tables(settings)


def stand_in_build(settings: StackSettings, batch_id: str, n_held: int = 0) -> None:
    """Do what dbt does to a batch, as far as publishing is concerned."""
    dbt_stand_in.build(settings, batch_id, n_held)


RELEASE = """
    delete from intermediate.int_encounters__features where _build_id = %(build)s;
    delete from staging.stg_uci__encounters where _build_id = %(build)s;
    insert into staging.stg_uci__encounters
    select build_id, batch_id, source_row, %(verdict)s, null, arrived.encounter_id::bigint
    from ops.corrections
    inner join raw.encounters as arrived
        on arrived._batch_id = batch_id and arrived._source_row = source_row
    where build_id = %(build)s;
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
    dbt_stand_in.run(settings, RELEASE, {"build": build_id, "verdict": verdict})


def publish_all(settings: StackSettings, n_held: int = 0) -> list[str]:
    """Finish every waiting build and return their ids."""
    build_ids = []
    while (build := claims.claim_and_begin("run", settings)) is not None:
        if build.kind == "batch":
            loading.load(build.batch_id, settings)
            stand_in_build(settings, build.batch_id, n_held)
        else:
            stand_in_release(settings, build.build_id)
        build.publish(settings)
        build_ids.append(build.build_id)
    return build_ids
