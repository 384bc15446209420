"""Another contract: each published build is built again, beside the live tables, and all switch at
once.

dbt builds into the schemas `staging_next`, `intermediate_next`, `marts_next` and `quarantine_next`,
as a new installation would build into the live ones. Readers see the old mart until the last build
is verified.
"""

import logging
import os
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import ledger
from readmit.batches.builds import NEXT, Build
from readmit.contract.definition import Contract
from readmit.errors import BatchRejected
from readmit.settings import JobSettings, PipelineSettings

log = logging.getLogger("readmit")

SCHEMAS = ("staging", "intermediate", "marts", "quarantine")
# An advisory lock of database `clean`: one run at a time plans or switches.
REBUILD_LOCK = 7_241_008
# The switch waits this long for readers of the mart; nobody behind it waits longer. Then a retry.
LOCK_TIMEOUT = "5s"

RELATIONS = """
    select n.nspname, c.relname, case c.relkind when 'v' then 'view' else 'table' end
    from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid
    where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v') order by c.relkind = 'v' desc, 1, 2
"""


def current_contract() -> Contract:
    """Return the contract of this code's dbt manifest."""
    target = os.environ.get("DBT_TARGET_PATH")
    return Contract.from_manifest(Path(target, "manifest.json") if target else None)


def plan(settings: PipelineSettings) -> int:
    """Queue a rebuild of what is published, when the mart was built with another contract.

    A rebuild for a third contract starts anew; one for the live contract is given up.

    Returns:
        The number of builds that wait for their rebuild.
    """
    contract_hash = current_contract().hash
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (REBUILD_LOCK,))
        is_live = _live_hash(cur, contract_hash) == contract_hash
        cur.execute(
            "delete from ops.rebuilds where contract_hash <> %s or %s", (contract_hash, is_live)
        )
        cur.execute("select count(*) from ops.rebuilds")
        if ledger.fetch_count(cur) == 0:
            cur.execute("delete from ops.current_build where kind = 'rebuild'")
            _clear_next(settings)
        if is_live:
            return 0
        cur.execute(
            "insert into ops.rebuilds (build_id, batch_id, contract_hash)"
            " select build_id, batch_id, %s from ops.published_batches"
            " on conflict (build_id) do nothing",
            (contract_hash,),
        )
        cur.execute("select count(*) from ops.rebuilds where verified_at is null")
        return ledger.fetch_count(cur)


def _live_hash(cur: cursor, contract_hash: str) -> str:
    """Return the contract of the live mart, and write it down where nobody has.

    An installation of before kept no such record: its last promoted model was trained on the mart.
    """
    cur.execute("select contract_hash from ops.mart_contract")
    row = cur.fetchone()
    cur.execute("select exists (select from ops.published_batches)")
    [(has_rows,)] = cur.fetchall()
    if row is not None and has_rows:
        return str(row[0])
    live = contract_hash
    if has_rows:
        cur.execute(
            "select contract_hash from ops.promotions"
            " where contract_hash is not null and decision <> 'rollback'"
            " order by promotion_id desc limit 1"
        )
        promoted = cur.fetchone()
        live = str(promoted[0]) if promoted else contract_hash
    cur.execute(
        "insert into ops.mart_contract (contract_hash) values (%s) on conflict (singleton)"
        " do update set contract_hash = excluded.contract_hash, built_at = clock_timestamp()",
        (live,),
    )
    return live


def _clear_next(settings: PipelineSettings) -> None:
    """Drop what an unfinished rebuild left."""
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        _drop(cur, [schema + NEXT for schema in SCHEMAS])


def _drop(cur: cursor, schemas: list[str]) -> None:
    cur.execute(RELATIONS, (schemas,))
    for schema, name, kind in cur.fetchall():
        drop = sql.SQL("drop {} if exists {} cascade")
        cur.execute(drop.format(sql.SQL(kind), sql.Identifier(schema, name)))


def waiting(settings: PipelineSettings) -> list[Build]:
    """Return the rebuilds that wait, in the order in which their builds were published.

    Raises:
        BatchRejected: a gate or a test has rejected one; the new contract has to be corrected.
    """
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(
            "select r.build_id, r.batch_id, r.reason from ops.rebuilds as r"
            " inner join ops.published_batches as p on r.build_id = p.build_id"
            " where r.verified_at is null order by p.published_at, p.build_id"
        )
        rows = cur.fetchall()
    for build_id, _, reason in rows:
        if reason is not None:
            raise BatchRejected(
                f"the rebuild for the new contract stopped at {build_id}, the old mart stays:"
                f" {reason}. Correct the contract, then `make up`"
            )
    return [Build(str(build_id), str(batch_id), "rebuild") for build_id, batch_id, _ in rows]


def hold_reason(settings: JobSettings) -> str:
    """Return why training has to wait, or an empty text."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        live = _live_hash(cur, current_contract().hash)
        cur.execute(
            "select count(*) filter (where verified_at is null), count(*) from ops.rebuilds"
        )
        [(n_waiting, n_builds)] = cur.fetchall()
    if live == current_contract().hash:
        return ""
    return (
        "training waits until the published batches are rebuilt for the new contract:"
        f" {n_builds - n_waiting} of {n_builds} builds are verified"
    )


def switch(settings: PipelineSettings) -> bool:
    """Put the tables beside into the place of the live ones when the last build is verified.

    One transaction of dbt's role, which owns the tables; `ops.finish_rebuild` refuses it unless
    `publisher` has verified every published build.

    Returns:
        Whether they were switched.
    """
    with (
        db.transaction("transformer", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select pg_advisory_xact_lock(%s)", (REBUILD_LOCK,))
        cur.execute("select batch_id, verified_at is not null from ops.rebuilds")
        rows = cur.fetchall()
        if not rows or not all(is_verified for _, is_verified in rows):
            return False
        cur.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        cur.execute("set local search_path = pg_catalog")
        _drop(cur, list(SCHEMAS))
        cur.execute(RELATIONS, ([schema + NEXT for schema in SCHEMAS],))
        for schema, name, kind in cur.fetchall():
            _move(cur, schema, name, kind)
        cur.execute("select ops.finish_rebuild()")
    ledger.follow(sorted({str(batch_id) for batch_id, _ in rows}), settings)
    log.info("the mart has the new contract: %d builds were rebuilt", len(rows))
    return True


def _move(cur: cursor, schema: str, name: str, kind: str) -> None:
    """Move a relation into the live schema; a view then follows what is published there."""
    live = sql.Identifier(schema.removesuffix(NEXT), name)
    move = sql.SQL("alter {} {} set schema {}")
    target = sql.Identifier(schema.removesuffix(NEXT))
    cur.execute(move.format(sql.SQL(kind), sql.Identifier(schema, name), target))
    if kind == "view":
        cur.execute("select pg_get_viewdef(%s::regclass)", (live.as_string(cur),))
        [(definition,)] = cur.fetchall()
        query = definition.replace("ops.rebuilt_builds", "ops.published_batches rebuilt_builds")
        cur.execute(sql.SQL("create or replace view {} as {}").format(live, sql.SQL(query)))
