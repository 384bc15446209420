"""One build at a time: begin it, hold its lock, account for its rows, publish it."""

from dataclasses import dataclass

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import claims, ledger
from readmit.settings import PipelineSettings


class BuildBusy(Exception):
    """Another build is under way: dbt builds one batch at a time; try again when it has ended."""


class BuildLost(Exception):
    """What was built is no longer what dbt built last; the next run builds it again."""


class AccountingBroken(Exception):
    """Rows got lost or doubled between two layers: the build must not be published."""


@dataclass(frozen=True)
class Counts:
    """The accounting of a build: rows = features + quarantined + excluded."""

    n_rows: int
    n_features: int
    n_quarantined: int
    n_excluded: int


def begin_build(batch_id: str, settings: PipelineSettings) -> None:
    """Make this batch the one that dbt builds. For a published batch dbt is left with nothing to build.

    Raises:
        BuildBusy: another build was begun less than `LEASE` ago and has not ended.
        BatchRejected: the batch is rejected.
    """
    status = _touch(batch_id, settings)
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select 1 from ops.published_batches where build_id = %s", (batch_id,))
        if cur.fetchone() is not None or status == "published":
            cur.execute("delete from ops.current_build where build_id = %s", (batch_id,))
            return
        set_current_build(cur, batch_id, batch_id, "batch")


def set_current_build(cur: cursor, build_id: str, batch_id: str, kind: str) -> None:
    """Take the one place of `ops.current_build`, unless another build holds it."""
    cur.execute(
        """
        insert into ops.current_build as held (build_id, batch_id, kind) values (%(build)s, %(batch)s, %(kind)s)
        on conflict (singleton) do update
        set build_id = excluded.build_id, batch_id = excluded.batch_id, kind = excluded.kind,
            set_at = clock_timestamp()
        where held.build_id = excluded.build_id
           or held.set_at not between clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s
           or exists (select 1 from ops.published_batches p where p.build_id = held.build_id)
        """,
        {"build": build_id, "batch": batch_id, "kind": kind, "lease": claims.LEASE},
    )
    if cur.rowcount == 0:
        cur.execute("select build_id, set_at from ops.current_build")
        held = cur.fetchone()
        raise BuildBusy(
            f"{build_id}: {held[0] if held else 'another build'} is being built; try again in a minute"
        )


def lock_build(cur: cursor, build_id: str) -> None:
    """Keep dbt's place for this build until the transaction ends; a published build needs none.

    Raises:
        BuildLost: a lease has run out, and another build has taken the place or had it: what stands in the tables was
            made without that one.
    """
    cur.execute("select 1 from ops.current_build where build_id = %s for update", (build_id,))
    if cur.fetchone() is None:
        cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
        if cur.fetchone() is None:
            raise BuildLost(
                f"{build_id}: has lost dbt's place to another build; the next run builds it again"
            )


def ensure_build_lock(build_id: str, settings: PipelineSettings) -> None:
    """Raise `BuildLost` unless dbt's place is this build's; see `lock_build`."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        lock_build(cur, build_id)


def _touch(batch_id: str, settings: PipelineSettings) -> str:
    """Renew the lease and return the status of a batch that must be in the ledger and not rejected."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        status, reason = ledger.state(cur, batch_id)
        if status is None:
            raise LookupError(f"{batch_id}: is not loaded")
        ledger.stop_if_rejected(batch_id, status, reason)
        claims.renew(cur, batch_id)
        return status


def publish(batch_id: str, settings: PipelineSettings) -> Counts:
    """Make a batch visible: one row in `clean`, then the ledger follows.

    Raises:
        BatchRejected: the batch is rejected.
        BuildLost: another batch or release was built since.
        LookupError: it is not loaded.
    """
    _touch(batch_id, settings)
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        lock_build(cur, batch_id)
        counts = count_build(cur, batch_id, batch_id)
        publish_build(cur, batch_id, batch_id, "batch", counts)
    ledger.follow([batch_id], settings)
    return counts


def publish_build(cur: cursor, build_id: str, batch_id: str, kind: str, counts: Counts) -> None:
    """Throw the switch for one build (see ops.publish_build)."""
    figures = (counts.n_rows, counts.n_features, counts.n_quarantined, counts.n_excluded)
    cur.execute(
        "select ops.publish_build(%s, %s, %s, %s, %s, %s, %s)", (build_id, batch_id, kind, *figures)
    )


def count_build(cur: cursor, build_id: str, batch_id: str) -> Counts:
    """Count what became of the rows of a batch once this build is published.

    Raises:
        AccountingBroken: rows in RAW are not features + quarantined + excluded.
    """
    cur.execute("select n_rows from raw.batches where batch_id = %s", (batch_id,))
    n_rows = ledger.count(cur)
    # A released row stands twice, as it came and as it was corrected: what passed is what counts.
    cur.execute(
        """
        select
            count(*) filter (where verdict = 'valid'),
            count(*) filter (where verdict = 'quarantined'),
            count(*) filter (where verdict = 'excluded')
        from (
            select distinct on (_source_row) verdict from staging.stg_uci__encounters as staged
            where _batch_id = %s and (
                _build_id = %s
                or exists (select from ops.published_batches as p where p.build_id = staged._build_id)
            )
            order by _source_row, verdict = 'quarantined'
        ) as row_verdicts
        """,
        (batch_id, build_id),
    )
    n_valid, n_quarantined, n_excluded = cur.fetchone() or (0, 0, 0)
    counts = Counts(n_rows, int(n_valid), int(n_quarantined), int(n_excluded))
    _check_accounting(cur, build_id, batch_id, counts)
    return counts


def _check_accounting(cur: cursor, build_id: str, batch_id: str, counts: Counts) -> None:
    total = counts.n_features + counts.n_quarantined + counts.n_excluded
    if total != counts.n_rows:
        raise AccountingBroken(
            f"{build_id}: {counts.n_rows} rows arrived, but {total} are accounted for ({counts})"
        )
    cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
    if build_id != batch_id or cur.fetchone() is not None:
        return  # a release rewrites some rows only; rows of a published batch may stand in later builds
    cur.execute(
        "select count(*) from intermediate.int_encounters__features where _build_id = %s and _batch_id = %s",
        (build_id, batch_id),
    )
    if (n_features := ledger.count(cur)) != counts.n_features:
        raise AccountingBroken(
            f"{build_id}: {counts.n_features} rows are valid, but {n_features} are features"
        )


def published(settings: PipelineSettings) -> int:
    """Count the batches that readers see."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select count(*) from ops.published_batches where kind = 'batch'")
        return ledger.count(cur)
