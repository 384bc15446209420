"""Exact accounting in the databases: what every published batch must satisfy after any fault."""

from readmit.settings import StackSettings
from tests.support.raw import query

LEDGER = """
    select
        batch_id, status, n_rows,
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
TWICE = """
    select encounter_id from marts.fct_encounter_features group by encounter_id having count(*) > 1
"""
TOTALS = """
    select sum(n_rows), sum(n_features), sum(n_quarantined), sum(n_excluded)
    from ops.published_batches where kind = 'batch'
"""


def check(settings: StackSettings) -> dict[str, str]:
    """Check that rows in RAW = features + quarantined + excluded, in the ledger and in the tables.

    Returns the status of each batch.
    """
    ledger = query(settings, settings.raw_database, LEDGER)
    published = {row[0]: row[1:] for row in query(settings, settings.clean_database, PUBLISHED)}
    for batch_id, status, planned, in_raw in ledger:
        assert in_raw == planned, batch_id
        assert (status == "published") == (batch_id in published), (batch_id, status)
        if status == "published":
            n_rows, n_features, n_held, n_excluded, in_mart, in_quarantine = published[batch_id]
            assert n_rows == planned == n_features + n_held + n_excluded, batch_id
            assert (in_mart, in_quarantine) == (n_features, n_held), batch_id
    assert query(settings, settings.clean_database, TWICE) == []
    return {row[0]: row[1] for row in ledger}


def totals(settings: StackSettings) -> tuple[int, int, int, int]:
    """Return rows, features, quarantined and excluded of everything that is published."""
    (row,) = query(settings, settings.clean_database, TOTALS)
    n_rows, n_features, n_quarantined, n_excluded = row
    return int(n_rows), int(n_features), int(n_quarantined), int(n_excluded)
