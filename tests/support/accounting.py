"""Exact accounting, asked of the databases: what every published batch must satisfy, whatever happened on the way."""

from readmit.settings import Settings
from tests.support.raw import query

PER_BATCH = """
    select
        b.batch_id, b.status, b.n_rows, p.n_rows, p.n_features, p.n_quarantined, p.n_excluded,
        (select count(*) from raw.encounters e where e._batch_id = b.batch_id),
        (select count(*) from marts.fct_encounter_features f where f._batch_id = b.batch_id),
        (select count(*) from quarantine.encounters q where q._batch_id = b.batch_id and q.released_at is null)
    from raw.batches b
    left join ops.published_batches p on p.build_id = b.batch_id
    where b.status <> 'refused'
    order by b.batch_id
"""


def check(settings: Settings) -> dict[str, str]:
    """Check every batch: rows in RAW = features + quarantined + excluded, in the ledger and counted. Returns states."""
    found = query(settings, settings.clean_database, PER_BATCH)
    for batch_id, status, planned, n_rows, n_features, n_held, n_excluded, in_raw, in_mart, in_quarantine in found:
        assert in_raw == planned, batch_id
        if status == "published":
            assert n_rows == planned == n_features + n_held + n_excluded, batch_id
            assert (in_mart, in_quarantine) == (n_features, n_held), batch_id
        else:
            assert (n_rows, in_mart) == (None, 0), (batch_id, status)
    twice = query(
        settings,
        settings.clean_database,
        "select encounter_id from marts.fct_encounter_features group by encounter_id having count(*) > 1",
    )
    assert twice == []
    return {row[0]: row[1] for row in found}


def totals(settings: Settings) -> tuple[int, int, int, int]:
    """Return rows, features, quarantined and excluded of everything that is published."""
    statement = "select sum(n_rows), sum(n_features), sum(n_quarantined), sum(n_excluded) from ops.published_batches"
    found = query(settings, settings.clean_database, f"{statement} where kind = 'batch'")[0]
    return int(found[0]), int(found[1]), int(found[2]), int(found[3])
