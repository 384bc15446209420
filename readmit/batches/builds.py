"""One build at a time: take the build lock, account for the rows, publish or reject.

A build is one run of dbt: over a batch, or over corrected rows of a batch that is published. Every
step may be killed at any point and repeated.
"""

import logging
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import Literal

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import ledger
from readmit.settings import PipelineSettings

log = logging.getLogger("readmit")

Kind = Literal["batch", "correction", "rebuild"]
# The schemas of a rebuild are named after the live ones, with this suffix.
NEXT = "_next"

# A run whose last step is older than this is dead; dbt's part of a batch takes about a minute. A
# last step that lies further ahead than this does not count either: the clock was put back since.
LEASE = timedelta(minutes=10)

# An advisory lock of database `clean`: a correction is added to a build, or the build begins, never
# both at once.
CORRECTIONS_LOCK = 7_241_005

# A corrected row stands twice, as it came and as it was corrected: the one that passed counts.
ROW_VERDICTS = """
    select
        count(*) filter (where verdict = 'valid'),
        count(*) filter (where verdict = 'quarantined'),
        count(*) filter (where verdict = 'excluded')
    from (
        select distinct on (_source_row) verdict
        from staging{suffix}.stg_uci__encounters as staged
        where _batch_id = %(batch)s and (
            _build_id = %(build)s
            or exists (
                select from {published} as p where p.build_id = staged._build_id
            )
        )
        order by _source_row, verdict = 'quarantined', _build_id = %(build)s desc
    ) as row_verdicts
"""


class BuildBusy(Exception):
    """Another build is under way: dbt builds one at a time; try again when it has ended."""


class BuildLost(Exception):
    """The build lock has gone to another build; the next run builds this one again."""


class AccountingBroken(Exception):
    """Rows got lost or doubled between two layers: the build must not be published."""


@dataclass(frozen=True)
class Counts:
    """The accounting of a build: rows = features + quarantined + excluded."""

    n_rows: int
    n_features: int
    n_quarantined: int
    n_excluded: int


@dataclass(frozen=True)
class Build:
    """What dbt builds in one run.

    Attributes:
        build_id: the batch's own id, or `<batch_id>+r<k>` for its k-th correction.
        batch_id: the batch that the rows belong to.
        kind: whether dbt takes all rows of the batch, or those that were corrected; or, for another
            contract, what this published build took (`readmit.batches.rebuilds`).
    """

    build_id: str
    batch_id: str
    kind: Kind

    @classmethod
    def of_batch(cls, batch_id: str) -> "Build":
        """Return the build of a whole batch; it has the batch's id."""
        return cls(batch_id, batch_id, "batch")

    @property
    def schema_suffix(self) -> str:
        """What dbt's schemas are called after the name of the layer."""
        return NEXT if self.kind == "rebuild" else ""

    @property
    def published_builds(self) -> str:
        """The relation of the builds that are visible beside this one."""
        return "ops.rebuilt_builds" if self.kind == "rebuild" else "ops.published_batches"

    def begin(self, settings: PipelineSettings) -> None:
        """Take the build lock, so that dbt builds this next.

        A published build releases the lock: dbt has nothing to build then.

        Raises:
            BuildBusy: another build began less than `LEASE` ago and has not ended.
            BatchRejected: the build is rejected.
            LookupError: nobody asked for this correction.
        """
        status, reason = self._state(settings)
        ledger.stop_if_rejected(self.build_id, status, reason)
        with (
            db.transaction("publisher", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            cur.execute("select pg_advisory_xact_lock(%s)", (CORRECTIONS_LOCK,))
            if self.kind == "correction":
                cur.execute(
                    "select 1 from ops.corrections where build_id = %s limit 1", (self.build_id,)
                )
                if cur.fetchone() is None:
                    raise LookupError(
                        f"{self.build_id}: no such correction waits;"
                        " see `python -m readmit.batches.corrections list`"
                    )
            if status == "published" or self._is_visible(cur):
                cur.execute("delete from ops.current_build where build_id = %s", (self.build_id,))
            else:
                self._take_lock(cur)

    def _state(self, settings: PipelineSettings) -> tuple[str | None, str]:
        """Return the build's status and the reason for it.

        The status is None until a batch is loaded, or a correction is rejected.
        """
        if self.kind == "batch":
            with (
                db.transaction("loader", settings.raw_database, settings) as raw,
                raw.cursor() as cur,
            ):
                return ledger.state(cur, self.batch_id)
        reasons = {
            "correction": "select reason from ops.rejected_builds where build_id = %s",
            "rebuild": "select reason from ops.rebuilds where build_id = %s and reason is not null",
        }
        with (
            db.transaction("publisher", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            cur.execute(reasons[self.kind], (self.build_id,))
            rejection = cur.fetchone()
        return ("rejected", str(rejection[0])) if rejection else (None, "")

    def _take_lock(self, cur: cursor) -> None:
        cur.execute(
            """
            insert into ops.current_build as held (build_id, batch_id, kind)
            values (%(build)s, %(batch)s, %(kind)s)
            on conflict (singleton) do update
            set build_id = excluded.build_id, batch_id = excluded.batch_id, kind = excluded.kind,
                set_at = clock_timestamp()
            where held.build_id = excluded.build_id
               or held.set_at not between
                   clock_timestamp() - %(lease)s and clock_timestamp() + %(lease)s
               or held.kind <> 'rebuild' and exists (
                   select 1 from ops.published_batches p where p.build_id = held.build_id
               )
            """,
            {
                "build": self.build_id,
                "batch": self.batch_id,
                "kind": self.kind,
                "lease": LEASE,
            },
        )
        if cur.rowcount == 0:
            cur.execute("select build_id from ops.current_build")
            holder = cur.fetchone()
            name = holder[0] if holder else "another build"
            raise BuildBusy(f"{self.build_id}: {name} is being built; try again in a minute")

    def ensure_lock(self, settings: PipelineSettings) -> None:
        """Raise `BuildLost` unless the build lock is this build's, or the build is published."""
        with (
            db.transaction("publisher", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            self._hold_lock(cur)

    def _hold_lock(self, cur: cursor) -> None:
        """Keep the build lock until the transaction ends; a published build needs none."""
        cur.execute(
            "select 1 from ops.current_build where build_id = %s for update", (self.build_id,)
        )
        if cur.fetchone() is None and not self._is_visible(cur):
            raise BuildLost(
                f"{self.build_id}: has lost the build lock to another build; the next run builds"
                " it again"
            )

    def _is_visible(self, cur: cursor) -> bool:
        """Tell whether this build is published, or verified when it is a rebuild."""
        cur.execute(
            f"select 1 from {self.published_builds} where build_id = %s",  # noqa: S608
            (self.build_id,),
        )
        return cur.fetchone() is not None

    def publish(self, settings: PipelineSettings) -> Counts:
        """Make the build visible: one row in `clean`, then the ledger follows.

        Raises:
            AccountingBroken: rows are missing.
            BatchRejected: the batch is rejected.
            BuildLost: another build was begun since.
            LookupError: the batch is not loaded.
        """
        status, reason = self._state(settings)
        ledger.stop_if_rejected(self.build_id, status, reason)
        if self.kind == "batch" and status is None:
            raise LookupError(f"{self.batch_id}: is not loaded")
        with (
            db.transaction("publisher", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            self._hold_lock(cur)
            counts = self.count(settings)
            cur.execute(
                "select ops.publish_build(%s, %s, %s, %s, %s, %s, %s)",
                (self.build_id, self.batch_id, self.kind, *astuple(counts)),
            )
        ledger.follow([self.batch_id], settings)
        log.info(
            "%s is published: %d rows = %d features + %d quarantined + %d excluded",
            self.build_id,
            counts.n_rows,
            counts.n_features,
            counts.n_quarantined,
            counts.n_excluded,
        )
        if counts.n_quarantined:
            log.info("the quarantined rows and their reasons: `make quarantine`")
        return counts

    def count(self, settings: PipelineSettings) -> Counts:
        """Count what becomes of the rows of the batch once this build is published.

        dbt's role counts, since a function in a view of dbt's runs with the rights of the role that
        reads the view: as `publisher`, it could publish.

        Raises:
            AccountingBroken: rows in RAW are not features + quarantined + excluded.
        """
        with (
            db.transaction("transformer", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            cur.execute(
                "select n_rows - n_erased from raw.batches where batch_id = %s", (self.batch_id,)
            )
            n_rows = ledger.fetch_count(cur)
            verdicts = ROW_VERDICTS.format(
                suffix=self.schema_suffix, published=self.published_builds
            )
            cur.execute(verdicts, {"batch": self.batch_id, "build": self.build_id})
            n_valid, n_quarantined, n_excluded = cur.fetchone() or (0, 0, 0)
            counts = Counts(n_rows, int(n_valid), int(n_quarantined), int(n_excluded))
            total = counts.n_features + counts.n_quarantined + counts.n_excluded
            if total != n_rows:
                raise AccountingBroken(
                    f"{self.build_id}: {n_rows} rows arrived, but {total} are accounted for"
                    f" ({counts})"
                )
            # A correction rewrites some rows only, and rows of a published batch may stand in
            # later builds.
            if self.build_id != self.batch_id or self._is_visible(cur):
                return counts
            cur.execute(
                f"select count(*) from intermediate{self.schema_suffix}.int_encounters__features"  # noqa: S608
                " where _build_id = %s and _batch_id = %s",
                (self.build_id, self.batch_id),
            )
            n_features = ledger.fetch_count(cur)
        if n_features != counts.n_features:
            raise AccountingBroken(
                f"{self.build_id}: {counts.n_features} rows are valid, but {n_features} are"
                " features"
            )
        return counts

    def reject(self, reason: str, settings: PipelineSettings) -> None:
        """Record the verdict and remove what dbt built; the rows stay in RAW as evidence.

        Raises:
            BuildLost: another build was begun since: the judged rows are not those of this build.
        """
        status, _ = self._state(settings)
        if status in ledger.REJECTED:
            return
        with (
            db.transaction("publisher", settings.clean_database, settings) as clean,
            clean.cursor() as cur,
        ):
            self._hold_lock(cur)
            cur.execute("select ops.discard_build(%s)", (self.build_id,))
            if self.kind == "correction":
                cur.execute(
                    "insert into ops.rejected_builds (build_id, reason) values (%s, %s)",
                    (self.build_id, reason),
                )
            if self.kind == "rebuild":
                cur.execute(
                    "update ops.rebuilds set reason = %s where build_id = %s",
                    (reason, self.build_id),
                )
                return
        ledger.mark_rejected(self.build_id, reason, settings)


def is_published(cur: cursor, build_id: str) -> bool:
    """Tell whether readers see this build."""
    cur.execute("select 1 from ops.published_batches where build_id = %s", (build_id,))
    return cur.fetchone() is not None


def count_published(settings: PipelineSettings) -> int:
    """Count the batches that readers see."""
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute("select count(*) from ops.published_batches where kind = 'batch'")
        return ledger.fetch_count(cur)
