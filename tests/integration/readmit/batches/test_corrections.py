"""Release from quarantine: corrected rows are built once, on their own, in a person's name."""

from pathlib import Path

import pytest

from readmit.batches import builds, claims, corrections, ledger, loading
from readmit.batches.builds import Build
from readmit.batches.corrections import ReleaseRefused
from readmit.errors import BatchRejected
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from tests.support import raw


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    """A stack with one published batch whose first two rows are held back."""
    source = tmp_path / "encounters.csv"
    sample.write_csv(source, n_rows=300)
    stack_settings = raw.fresh(tmp_path, dataset=str(source))
    raw.stand_in_tables(stack_settings)
    sources.ensure_source(stack_settings)
    batch_id = raw.claim_batch("run", stack_settings)
    assert batch_id is not None
    loading.load(batch_id, stack_settings)
    Build.of_batch(batch_id).begin(stack_settings)
    raw.stand_in_build(stack_settings, batch_id, n_held=2)
    Build.of_batch(batch_id).publish(stack_settings)
    return stack_settings


def held_rows(settings: StackSettings) -> list[tuple[str, int]]:
    statement = "select _batch_id, _source_row from quarantine.encounters order by _source_row"
    return raw.query(settings, settings.clean_database, statement)


def counts(settings: StackSettings) -> tuple[int, int]:
    statement = "select n_quarantined, n_excluded from landing.batches"
    return tuple(raw.query(settings, settings.raw_database, statement)[0])


def test_held_rows_are_listed_by_batch_and_reason(settings: StackSettings) -> None:
    [(batch_id, _), _] = held_rows(settings)
    assert corrections.held_rows(settings) == [
        corrections.HeldRows(batch_id, "age is not a band", 2)
    ]
    assert counts(settings) == (2, 0)


def test_released_row_enters_once_in_a_build_of_its_own(settings: StackSettings) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "an engineer", settings)
    assert build_id == f"{batch_id}+r1"
    assert corrections.waiting(settings) == [raw.correction(build_id)]
    with pytest.raises(ReleaseRefused, match=r"waits in .*r1 already"):
        corrections.release(batch_id, row, {}, "an engineer", settings)
    for _ in range(2):
        raw.correction(build_id).begin(settings)
    raw.stand_in_release(settings, build_id)
    for _ in range(2):
        published = raw.correction(build_id).publish(settings)
    assert (published.n_quarantined, published.n_excluded) == (1, 0)
    assert counts(settings) == (1, 0)
    assert corrections.waiting(settings) == []
    with pytest.raises(ReleaseRefused, match=r"was released at .* it enters once"):
        corrections.release(batch_id, row, {}, "an engineer", settings)
    facts = "select kind, count(*) from ops.published_batches group by kind order by kind"
    assert raw.query(settings, settings.clean_database, facts) == [("batch", 1), ("correction", 1)]


def test_released_row_that_turns_out_to_be_excluded_is_counted_as_such(
    settings: StackSettings,
) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(
        batch_id, row, {"discharge_disposition_id": "11"}, "an engineer", settings
    )
    raw.correction(build_id).begin(settings)
    raw.stand_in_release(settings, build_id, "excluded")
    published = raw.correction(build_id).publish(settings)
    assert counts(settings) == (published.n_quarantined, published.n_excluded) == (1, 1)


def test_ledger_is_repaired_after_a_crash_of_a_release_between_the_two_databases(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "an engineer", settings)
    raw.correction(build_id).begin(settings)
    raw.stand_in_release(settings, build_id)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "follow", crash)
        with pytest.raises(KeyboardInterrupt):
            raw.correction(build_id).publish(settings)
    assert corrections.waiting(settings) == []  # no run will publish it again
    assert counts(settings) == (2, 0)
    assert ledger.repair(settings) == [batch_id]
    assert counts(settings) == (1, 0)
    assert ledger.repair(settings) == []


def test_a_correction_that_waits_can_be_withdrawn(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (batch_id, row), (_, other_row) = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "an engineer", settings)
    raw.correction(build_id).begin(settings)
    with pytest.raises(ReleaseRefused, match="is being built"):
        corrections.withdraw(build_id, "a colleague", settings)
    raw.query(settings, settings.clean_database, "delete from ops.current_build")
    monkeypatch.setattr(corrections, "PipelineSettings", lambda: settings)
    assert corrections.main(["withdraw", build_id, "--by", "a colleague"]) == 0
    assert corrections.waiting(settings) == []
    assert corrections.rejections(settings) == {build_id: "withdrawn by a colleague"}
    with pytest.raises(BatchRejected, match="withdrawn by a colleague"):
        raw.correction(build_id).begin(settings)  # a run that has claimed it before
    with pytest.raises(ReleaseRefused, match="no such correction waits"):
        corrections.withdraw(build_id, "a colleague", settings)
    again = corrections.release(batch_id, row, {"age": "[60-70)"}, "an engineer", settings)
    assert again == f"{batch_id}+r2"
    assert corrections.release(batch_id, other_row, {}, "an engineer", settings) == again
    assert counts(settings) == (2, 0)
    assert "withdrawn" in capsys.readouterr().out


def test_rows_that_wait_share_a_build_until_it_is_being_built(settings: StackSettings) -> None:
    (batch_id, first), (_, second) = held_rows(settings)
    one = corrections.release(batch_id, first, {"age": "[70-80)"}, "me", settings)
    assert corrections.release(batch_id, second, {"age": "[0-10)"}, "me", settings) == one


def test_row_that_comes_during_a_build_waits_for_the_next(settings: StackSettings) -> None:
    (batch_id, first), (_, second) = held_rows(settings)
    one = corrections.release(batch_id, first, {"age": "[70-80)"}, "me", settings)
    raw.correction(one).begin(settings)
    assert (
        corrections.release(batch_id, second, {"age": "[0-10)"}, "me", settings) == f"{batch_id}+r2"
    )


def test_correction_that_lost_the_build_lock_is_not_published_but_built_again(
    settings: StackSettings,
) -> None:
    """A run that sleeps longer than its lease: what it built lacks what was published meanwhile."""
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "me", settings)
    assert claims.claim_and_begin("one", settings) == raw.correction(build_id)
    raw.stand_in_release(settings, build_id)
    other = raw.claim_batch("other", settings)
    assert other is not None
    loading.load(other, settings)
    raw.query(
        settings,
        settings.clean_database,
        "update ops.current_build set set_at = set_at - interval '1 hour'",
    )
    Build.of_batch(other).begin(settings)
    with pytest.raises(builds.BuildLost, match="lost the build lock to another build"):
        raw.correction(build_id).publish(settings)
    raw.stand_in_build(settings, other)
    Build.of_batch(other).publish(settings)
    with pytest.raises(builds.BuildLost):
        raw.correction(build_id).publish(settings)
    assert corrections.waiting(settings) == [raw.correction(build_id)]
    raw.correction(build_id).begin(settings)
    assert raw.correction(build_id).publish(settings).n_quarantined == 1


def test_release_waits_while_a_batch_is_built(settings: StackSettings) -> None:
    (batch_id, first), _ = held_rows(settings)
    other = raw.claim_batch("other", settings)
    assert other is not None
    build_id = corrections.release(batch_id, first, {}, "me", settings)
    loading.load(other, settings)
    Build.of_batch(other).begin(settings)
    with pytest.raises(builds.BuildBusy, match=other):
        raw.correction(build_id).begin(settings)


@pytest.mark.parametrize(
    ("corrected", "reason"),
    [
        ({"ages": "x"}, "no such column"),
        ({"age": "é"}, "not printable ASCII"),
        ({"age": "a\0"}, "not printable ASCII"),
        ({"age": "9" * 300}, "at most 256 bytes"),
    ],
)
def test_values_that_no_file_could_hold_are_refused(
    settings: StackSettings, corrected: dict[str, str], reason: str
) -> None:
    (batch_id, row), _ = held_rows(settings)
    with pytest.raises(ReleaseRefused, match=reason):
        corrections.release(batch_id, row, corrected, "me", settings)


def test_correction_cannot_move_a_row_into_a_patient_of_another_split(
    settings: StackSettings,
) -> None:
    (batch_id, row), _ = held_rows(settings)
    foreign = 1
    while split_of(foreign) != "train":
        foreign += 1
    with pytest.raises(ReleaseRefused, match="belongs to the split train"):
        corrections.release(batch_id, row, {"patient_nbr": str(foreign)}, "me", settings)


def test_only_rows_that_are_held_back_can_be_released(settings: StackSettings) -> None:
    (batch_id, row), _ = held_rows(settings)
    with pytest.raises(ReleaseRefused, match="is not in quarantine"):
        corrections.release(batch_id, 10**6, {}, "me", settings)
    with pytest.raises(ReleaseRefused, match="is not published"):
        corrections.release("train-001-00000000", row, {}, "me", settings)
    with pytest.raises(ReleaseRefused, match="name of the person"):
        corrections.release(batch_id, row, {}, " ", settings)


def test_unknown_release_cannot_be_built(settings: StackSettings) -> None:
    with pytest.raises(LookupError, match="no such correction"):
        raw.correction("train-001-00000000+r1").begin(settings)


def test_corrections_are_built_before_the_batches_that_wait(settings: StackSettings) -> None:
    (batch_id, row), _ = held_rows(settings)
    n_batches = claims.count_waiting(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "me", settings)
    assert claims.count_waiting(settings) == n_batches + 1
    first = claims.claim("one", settings)
    second = claims.claim("two", settings)
    assert first == raw.correction(build_id)
    assert second is not None
    assert second.kind == "batch"
    assert claims.claim("one", settings) == first  # a run that asks again keeps its build


def test_rejected_correction_leaves_the_queue_and_its_row_can_be_released_again(
    settings: StackSettings,
) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "me", settings)
    build = claims.claim_and_begin("run", settings)
    assert build == raw.correction(build_id)
    raw.stand_in_release(settings, build_id)
    for _ in range(2):
        build.reject("n_medications: 3 rows do not fit", settings)
    assert corrections.waiting(settings) == []
    assert corrections.rejections(settings) == {build_id: "n_medications: 3 rows do not fit"}
    staged = "select count(*) from staging.stg_uci__encounters where _build_id = %s"
    assert raw.query(settings, settings.clean_database, staged, build_id) == [(0,)]
    assert counts(settings) == (2, 0)
    for step in (build.begin, build.publish):
        with pytest.raises(BatchRejected, match="n_medications"):
            step(settings)
    again = corrections.release(batch_id, row, {"age": "[60-70)"}, "me", settings)
    assert again == f"{batch_id}+r2"
    assert claims.claim("next", settings) == raw.correction(again)


def test_claim_that_meets_a_build_under_way_is_released(settings: StackSettings) -> None:
    busy = claims.claim_and_begin("busy", settings)
    assert busy is not None
    with pytest.raises(builds.BuildBusy, match=busy.build_id):
        claims.claim_and_begin("late", settings)
    held = "select dag_run_id from landing.claims"
    assert raw.query(settings, settings.raw_database, held) == [("busy",)]
    claims.release_claim("busy", settings)
    assert claims.claim_and_begin("late", settings) == busy
