"""A rejection is recorded in the ledger: by a gate, and by dbt's own tests; a fault is not."""

import json

import pytest

from readmit.batches import builds, claims, loading, verdicts
from readmit.batches.builds import Build
from readmit.errors import BatchRejected
from readmit.intake import sample, sources
from tests.support import raw


@pytest.fixture
def loaded(tmp_path):
    source = tmp_path / "source.csv"
    sample.write_csv(source, 400)
    settings = raw.fresh(tmp_path, dataset=str(source))
    sources.ensure_source(settings)
    batch_id = raw.claim_batch("run-1", settings)
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    return settings, batch_id


def results(folder, *test_results):
    path = folder / "run_results.json"
    entries = []
    for unique_id, status, message in test_results:
        entries.append({"unique_id": unique_id, "status": status, "message": message})
    path.write_text(json.dumps({"results": entries}))
    return path


def test_a_failed_dbt_test_rejects_the_batch_and_the_next_one_is_taken(loaded, tmp_path):
    settings, batch_id = loaded
    path = results(
        tmp_path,
        ("model.readmit.stg_uci__encounters", "success", "INSERT 0 400"),
        (
            "test.readmit.assert_patient_is_in_one_split",
            "fail",
            "Got 3 results, configured to fail if != 0",
        ),
    )
    with (
        pytest.raises(BatchRejected, match="assert_patient_is_in_one_split"),
        verdicts.record_rejection(Build.of_batch(batch_id), settings),
    ):
        verdicts.check_tests(batch_id, verdicts.read_test_results(path))
    assert raw.ledger_rows(settings) == {batch_id: "rejected"}
    reason = raw.query(settings, settings.raw_database, "select reason from landing.batches")[0][0]
    assert "Got 3 results" in reason
    following = raw.claim_batch("run-2", settings)
    assert following not in (None, batch_id)
    loading.load(following, settings)
    Build.of_batch(following).begin(settings)


def test_a_rejection_of_rows_of_another_build_is_no_verdict(loaded, tmp_path):
    settings, batch_id = loaded
    path = results(
        tmp_path,
        ("test.readmit.key_of_staging", "fail", "Got 1 result, configured to fail if != 0"),
    )
    raw.query(
        settings,
        settings.clean_database,
        "update ops.current_build set build_id = 'b+r1', kind = 'correction'",
    )
    with (
        pytest.raises(builds.BuildLost, match=batch_id),
        verdicts.record_rejection(Build.of_batch(batch_id), settings),
    ):
        verdicts.check_tests(batch_id, verdicts.read_test_results(path))
    assert raw.ledger_rows(settings) == {batch_id: "loaded"}
    raw.query(
        settings,
        settings.clean_database,
        "update ops.current_build set build_id = %s, kind = 'batch'",
        batch_id,
    )
    with (
        pytest.raises(BatchRejected),
        verdicts.record_rejection(Build.of_batch(batch_id), settings),
    ):
        verdicts.check_tests(batch_id, verdicts.read_test_results(path))
    assert raw.ledger_rows(settings) == {batch_id: "rejected"}


@pytest.mark.parametrize(
    "test_results", [[], [("model.readmit.stg_uci__encounters", "error", "server closed")]]
)
def test_a_fault_is_no_verdict(loaded, tmp_path, test_results):
    settings, batch_id = loaded
    path = tmp_path / "missing.json"
    if test_results:
        path = results(tmp_path, *test_results)
    with (
        pytest.raises(verdicts.TestsDidNotRun),
        verdicts.record_rejection(Build.of_batch(batch_id), settings),
    ):
        verdicts.check_tests(batch_id, verdicts.read_test_results(path))
    assert raw.ledger_rows(settings) == {batch_id: "loaded"}
    claims.release_claim("run-1", settings)
    assert raw.claim_batch("run-2", settings) == batch_id


@pytest.mark.parametrize(
    ("statuses", "passed"),
    [
        (["pass", "warn"], True),
        (["pass", "skipped"], False),
        (["pass", "error"], False),
        ([], False),
    ],
)
def test_only_a_run_with_tests_that_all_passed_counts_as_tested(tmp_path, statuses, passed):
    test_results = [("model.readmit.stg_uci__encounters", "success", "")]
    for number, status in enumerate(statuses):
        test_results.append((f"test.readmit.t{number}", status, ""))
    assert verdicts.read_test_results(results(tmp_path, *test_results)).have_passed is passed
    assert not verdicts.read_test_results(tmp_path / "missing.json").have_passed
