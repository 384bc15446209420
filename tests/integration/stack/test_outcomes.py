"""The verdicts in the table come from both databases."""

from readmit.batches import claims, ledger, loading
from readmit.intake import sample, sources
from stack import outcomes
from tests.support import raw


def test_verdicts_of_batches_are_read_from_the_ledger(tmp_path):
    settings = raw.fresh(tmp_path)
    path = tmp_path / "sample.csv"
    sample.write_csv(path, n_rows=60)
    sources.submit(str(path), settings)
    builds = claims.waiting(settings)
    batch_id = raw.claim_batch("run", settings)
    loading.load(batch_id, settings)
    ledger.mark_rejected(batch_id, f"raw gate: batch {batch_id}: too many ages", settings)
    first, *others = outcomes.outcomes_of(builds, settings)
    assert (first.build_id, first.verdict) == (batch_id, "rejected")
    assert first.first_reason() == "raw gate: too many ages"
    assert {outcome.verdict for outcome in others} == {"waiting"}
    assert outcomes.count(others, "batch") == len(builds) - 1
