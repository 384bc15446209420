"""What became of the rows of each source file: rows = known + changed + rows of its batches."""

from typing import NamedTuple

from readmit import db
from readmit.settings import PipelineSettings


class SourceCounts(NamedTuple):
    """The accounting of one source file."""

    name: str
    n_rows: int
    n_known: int
    n_changed: int
    n_sliced: int

    def __str__(self) -> str:
        """Return the equation as a line of text."""
        return (
            f"{self.name}: {self.n_rows} rows = {self.n_known} known + {self.n_changed} changed"
            f" + {self.n_sliced} of its batches"
        )


def source_counts(settings: PipelineSettings, sha256: str | None = None) -> list[SourceCounts]:
    """Return the counts of all source files, oldest first, or of one."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(
            """
            select name, n_rows, n_known, n_changed, coalesce(
                (
                    select sum(slices.n_rows)::bigint from landing.slices
                    where slices.source_sha256 = sources.source_sha256
                ), 0
            )
            from landing.sources
            where %(sha256)s::text is null or source_sha256 = %(sha256)s
            order by sequence
            """,
            {"sha256": sha256},
        )
        return [SourceCounts(*row) for row in cur.fetchall()]
