"""Release from quarantine: corrected rows go through a build of their own, once, under somebody's name."""

from pathlib import Path

import pytest

from readmit.batches import builds, claims, corrections, ledger, loading
from readmit.batches.corrections import ReleaseRefused
from readmit.intake import sample, sources
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from tests.support import raw


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    """A stack with one published batch whose first two rows are held back."""
    source = tmp_path / "encounters.csv"
    sample.write_csv(source, n_rows=300)
    made = raw.fresh(tmp_path, dataset=str(source))
    raw.stand_in_tables(made)
    sources.ensure_source(made)
    batch_id = claims.claim("run", made)
    assert batch_id is not None
    loading.load(batch_id, made)
    builds.begin_build(batch_id, made)
    raw.stand_in_build(made, batch_id, n_held=2)
    builds.publish(batch_id, made)
    return made


def held_rows(settings: StackSettings) -> list[tuple[str, int]]:
    statement = "select _batch_id, _source_row from quarantine.encounters order by _source_row"
    return raw.query(settings, settings.clean_database, statement)


def counts(settings: StackSettings) -> tuple[int, int]:
    statement = "select n_quarantined, n_excluded from landing.batches"
    return tuple(raw.query(settings, settings.raw_database, statement)[0])


def test_held_rows_are_listed_by_batch_and_reason(settings: StackSettings) -> None:
    [(batch_id, _), _] = held_rows(settings)
    assert corrections.held(settings) == [corrections.Held(batch_id, "age is not a band", 2)]
    assert counts(settings) == (2, 0)


def test_released_row_enters_once_in_a_build_of_its_own(settings: StackSettings) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "an engineer", settings)
    assert build_id == f"{batch_id}+r1"
    assert corrections.waiting(settings) == [build_id]
    with pytest.raises(ReleaseRefused, match=r"waits in .*r1 already"):
        corrections.release(batch_id, row, {}, "an engineer", settings)
    for _ in range(2):
        corrections.begin_build(build_id, settings)
    raw.stand_in_release(settings, build_id)
    for _ in range(2):
        published = corrections.publish(build_id, settings)
    assert (published.n_quarantined, published.n_excluded) == (1, 0)
    assert counts(settings) == (1, 0)
    assert corrections.waiting(settings) == []
    with pytest.raises(ReleaseRefused, match=r"was released at .* it enters once"):
        corrections.release(batch_id, row, {}, "an engineer", settings)
    facts = "select kind, count(*) from ops.published_batches group by kind order by kind"
    assert raw.query(settings, settings.clean_database, facts) == [("batch", 1), ("release", 1)]


def test_released_row_that_turns_out_to_be_excluded_is_counted_as_such(
    settings: StackSettings,
) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(
        batch_id, row, {"discharge_disposition_id": "11"}, "an engineer", settings
    )
    corrections.begin_build(build_id, settings)
    raw.stand_in_release(settings, build_id, "excluded")
    published = corrections.publish(build_id, settings)
    assert counts(settings) == (published.n_quarantined, published.n_excluded) == (1, 1)


def test_ledger_is_repaired_after_a_crash_of_a_release_between_the_two_databases(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "an engineer", settings)
    corrections.begin_build(build_id, settings)
    raw.stand_in_release(settings, build_id)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "follow", crash)
        with pytest.raises(KeyboardInterrupt):
            corrections.publish(build_id, settings)
    assert corrections.waiting(settings) == []  # no run will publish it again
    assert counts(settings) == (2, 0)
    assert ledger.repair(settings) == [batch_id]
    assert counts(settings) == (1, 0)
    assert ledger.repair(settings) == []


def test_rows_that_wait_share_a_build_until_it_is_being_built(settings: StackSettings) -> None:
    (batch_id, first), (_, second) = held_rows(settings)
    one = corrections.release(batch_id, first, {"age": "[70-80)"}, "me", settings)
    assert corrections.release(batch_id, second, {"age": "[0-10)"}, "me", settings) == one


def test_row_that_comes_during_a_build_waits_for_the_next(settings: StackSettings) -> None:
    (batch_id, first), (_, second) = held_rows(settings)
    one = corrections.release(batch_id, first, {"age": "[70-80)"}, "me", settings)
    corrections.begin_build(one, settings)
    assert (
        corrections.release(batch_id, second, {"age": "[0-10)"}, "me", settings) == f"{batch_id}+r2"
    )


def test_release_whose_place_was_taken_is_not_published_but_built_again(
    settings: StackSettings,
) -> None:
    """A run that sleeps longer than its lease: what it built lacks what was published meanwhile."""
    (batch_id, row), _ = held_rows(settings)
    build_id = corrections.release(batch_id, row, {"age": "[70-80)"}, "me", settings)
    corrections.begin_build(build_id, settings)
    raw.stand_in_release(settings, build_id)
    other = claims.claim("other", settings)
    assert other is not None
    loading.load(other, settings)
    raw.query(
        settings,
        settings.clean_database,
        "update ops.current_build set set_at = set_at - interval '1 hour'",
    )
    builds.begin_build(other, settings)
    with pytest.raises(builds.BuildLost, match="lost dbt's place to another build"):
        corrections.publish(build_id, settings)
    raw.stand_in_build(settings, other)
    builds.publish(other, settings)
    with pytest.raises(builds.BuildLost):
        corrections.publish(build_id, settings)
    assert corrections.waiting(settings) == [build_id]
    corrections.begin_build(build_id, settings)
    assert corrections.publish(build_id, settings).n_quarantined == 1


def test_release_waits_while_a_batch_is_built(settings: StackSettings) -> None:
    (batch_id, first), _ = held_rows(settings)
    build_id = corrections.release(batch_id, first, {}, "me", settings)
    other = claims.claim("other", settings)
    assert other is not None
    loading.load(other, settings)
    builds.begin_build(other, settings)
    with pytest.raises(builds.BuildBusy, match=other):
        corrections.begin_build(build_id, settings)


@pytest.mark.parametrize(
    ("corrected", "what"),
    [
        ({"ages": "x"}, "no such column"),
        ({"age": "é"}, "not printable ASCII"),
        ({"age": "a\0"}, "not printable ASCII"),
        ({"age": "9" * 300}, "at most 256 bytes"),
    ],
)
def test_values_that_no_file_could_hold_are_refused(
    settings: StackSettings, corrected: dict[str, str], what: str
) -> None:
    (batch_id, row), _ = held_rows(settings)
    with pytest.raises(ReleaseRefused, match=what):
        corrections.release(batch_id, row, corrected, "me", settings)


def test_correction_cannot_move_a_row_into_a_patient_of_another_split(
    settings: StackSettings,
) -> None:
    (batch_id, row), _ = held_rows(settings)
    foreign = next(n for n in range(1, 100) if split_of(n) == "train")
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
    with pytest.raises(LookupError, match="no such release"):
        corrections.begin_build("train-001-00000000+r1", settings)
