"""Exact accounting in the databases: what every published batch must satisfy after any fault."""

from readmit.settings import StackSettings
from tests.support.raw import query

LEDGER = """
    select
        batch_id, status, n_rows - n_erased,
        (select count(*) from landing.encounters e where e._batch_id = b.batch_id)
    from landing.batches b where status <> 'refused' order by batch_id
"""
PUBLISHED = """
    select
        build_id, n_rows, n_features, n_quarantined, n_excluded,
        (select count(*) from marts.fct_encounter_features f where f._batch_id = p.batch_id),
        (
            select count(*) from quarantine.encounters q
            where q._batch_id = p.batch_id and q.released_at is null
        )
    from ops.published_batches p where kind = 'batch'
"""
SOURCES = """
    select
        name, n_rows, n_known, n_changed,
        (
            select coalesce(sum(n_rows), 0) from landing.slices l
            where l.source_sha256 = s.source_sha256
        )
    from landing.sources s
"""
TWICE = """
    select encounter_id from marts.fct_encounter_features group by encounter_id having count(*) > 1
"""
TOTALS = """
    select sum(n_rows), sum(n_features), sum(n_quarantined), sum(n_excluded)
    from ops.published_batches where kind = 'batch'
"""


def check_ledger(settings: StackSettings) -> dict[str, str]:
    """Check that RAW has the rows of each batch, and rows of each file = known + changed + slices.

    Returns the status of each batch.
    """
    for name, n_rows, n_known, n_changed, n_sliced in query(
        settings, settings.raw_database, SOURCES
    ):
        assert n_rows == n_known + n_changed + n_sliced, name
    ledger = query(settings, settings.raw_database, LEDGER)
    for batch_id, _, planned, in_raw in ledger:
        assert in_raw == planned, batch_id
    statuses = {}
    for batch_id, status, _, _ in ledger:
        statuses[batch_id] = status
    return statuses


def check(settings: StackSettings) -> dict[str, str]:
    """Check that rows in RAW = features + quarantined + excluded, in the ledger and in the tables.

    Returns the status of each batch.
    """
    statuses = check_ledger(settings)
    ledger = query(settings, settings.raw_database, LEDGER)
    published = {}
    for batch_id, *counts in query(settings, settings.clean_database, PUBLISHED):
        published[batch_id] = counts
    for batch_id, status, planned, _ in ledger:
        assert (status == "published") == (batch_id in published), (batch_id, status)
        if status == "published":
            n_rows, n_features, n_held, n_excluded, in_mart, in_quarantine = published[batch_id]
            assert n_rows == planned == n_features + n_held + n_excluded, batch_id
            assert (in_mart, in_quarantine) == (n_features, n_held), batch_id
    assert query(settings, settings.clean_database, TWICE) == []
    return statuses


def totals(settings: StackSettings) -> tuple[int, int, int, int]:
    """Return rows, features, quarantined and excluded of everything that is published."""
    (row,) = query(settings, settings.clean_database, TOTALS)
    n_rows, n_features, n_quarantined, n_excluded = row
    return int(n_rows), int(n_features), int(n_quarantined), int(n_excluded)
