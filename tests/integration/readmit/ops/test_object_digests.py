"""What training and the gates read from the object store is what the pipeline has stored there."""

import logging
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from expectations import profiles
from readmit import db, storage
from readmit.ops import erased_objects, object_digests
from readmit.ops.erased_rows import PatientRows
from readmit.ops.object_digests import ObjectChanged
from readmit.settings import StackSettings
from tests.support import raw, services
from tests.support.serving import contract
from training import snapshots
from training.snapshots import Facts, Snapshot

ROWS = pd.DataFrame(
    {
        "encounter_id": [1, 2, 3],
        "patient_nbr": [7, 8, 9],
        "split": ["train", "validation", "test"],
        "n_medications": [10, 20, 30],
    }
)
PARTS = ("{}.parquet", "{}.sealed.parquet", "{}.json")
PROFILE = {"race": {"Asian": 0.25, "Other": 0.75}}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> StackSettings:
    return raw.fresh(tmp_path_factory.mktemp("home"))


def put(settings: StackSettings, key: str, body: bytes) -> None:
    """Write as somebody who has the keys of the store, and no log-in of `publisher`."""
    storage.client("admin", settings).put_object(
        Bucket=settings.s3_pipeline_bucket, Key=key, Body=body
    )


def get(settings: StackSettings, key: str) -> bytes:
    answer = storage.client("admin", settings).get_object(
        Bucket=settings.s3_pipeline_bucket, Key=key
    )
    return answer["Body"].read()


def freeze(settings: StackSettings, name: str) -> str:
    snapshot_id = f"{name}-{settings.clean_database}"
    facts = Facts(snapshot_id, "sample", ["b"], 1, 1, 1, 0, 0)
    snapshots.store(Snapshot(facts, contract(), ROWS), settings)
    return snapshot_id


def read_all(settings: StackSettings, snapshot_id: str) -> None:
    snapshots.load(snapshot_id, settings)
    snapshots.sealed(snapshot_id, settings)


def test_a_snapshot_is_read_as_it_was_frozen(settings: StackSettings) -> None:
    snapshot_id = freeze(settings, "whole")
    loaded = snapshots.load(snapshot_id, settings)
    assert_frame_equal(loaded.rows, ROWS[:2])
    assert_frame_equal(snapshots.sealed(snapshot_id, settings), ROWS[2:].reset_index(drop=True))
    assert loaded.facts.fingerprint == snapshot_id
    freeze(settings, "whole")  # again, as a repeated task does
    read_all(settings, snapshot_id)


@pytest.mark.parametrize("part", PARTS)
def test_a_snapshot_that_somebody_changed_is_not_trained_on(
    settings: StackSettings, part: str
) -> None:
    snapshot_id = freeze(settings, f"changed{PARTS.index(part)}")
    key = f"snapshots/{part.format(snapshot_id)}"
    body = get(settings, key)
    changed = ROWS.assign(n_medications=50).to_parquet(index=False)
    put(settings, key, changed if part.endswith("parquet") else body.replace(b"sample", b"uci"))
    with pytest.raises(ObjectChanged, match=r"is not what the pipeline has stored"):
        read_all(settings, snapshot_id)
    put(settings, key, body)
    read_all(settings, snapshot_id)


def test_a_snapshot_that_training_did_not_freeze_is_refused(settings: StackSettings) -> None:
    """A tag of a version may name it: tags are written by whoever has MLflow's log-in."""
    snapshot_id = freeze(settings, "true")
    for part in PARTS:
        put(
            settings,
            f"snapshots/{part.format('forged')}",
            get(settings, f"snapshots/{part.format(snapshot_id)}"),
        )
    with pytest.raises(ObjectChanged, match="forged"):
        snapshots.load("forged", settings)


def test_objects_of_an_earlier_release_are_read_until_somebody_changes_them(
    tmp_path: Path,
) -> None:
    settings = raw.fresh(tmp_path)
    key = f"snapshots/{settings.clean_database}"
    s3 = storage.client("trainer", settings)
    query = "select max(recorded_at) from ops.object_digests where object_key = ''"
    [(since,)] = raw.query(settings, settings.clean_database, query)

    def is_put_later() -> bool:
        """Put the object; the store tells times in whole seconds, so it may seem to be older."""
        put(settings, key, b"before")
        head = s3.head_object(Bucket=settings.s3_pipeline_bucket, Key=key)
        return head["LastModified"] > since

    services.wait_until(is_put_later, "the object is as old as the database")
    with pytest.raises(ObjectChanged):
        object_digests.read(key, s3, settings)
    raw.query(
        settings,
        settings.clean_database,
        "insert into ops.object_digests (object_key, sha256, recorded_at)"
        " values ('', '', clock_timestamp() + interval '1 second')",
    )
    assert object_digests.read(key, s3, settings) == b"before"
    object_digests.store(key, b"now", s3, settings)
    put(settings, key, b"before")
    with pytest.raises(ObjectChanged):
        object_digests.read(key, s3, settings)


def test_a_run_that_was_killed_before_the_object_stores_it_again(settings: StackSettings) -> None:
    snapshot_id = freeze(settings, "killed")
    key = f"snapshots/{snapshot_id}.parquet"
    with (
        db.transaction("publisher", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        object_digests.record(key, b"another form of the same rows", cur)
    with pytest.raises(ObjectChanged):
        snapshots.load(snapshot_id, settings)
    freeze(settings, "killed")
    read_all(settings, snapshot_id)


def test_an_erasure_leaves_snapshots_that_can_be_read(settings: StackSettings) -> None:
    snapshot_id = freeze(settings, "erased")
    rows = PatientRows("7", ["b"], [1], [1])
    assert snapshot_id in erased_objects.erase_snapshots(rows, settings)
    loaded = snapshots.load(snapshot_id, settings)
    assert list(loaded.rows["patient_nbr"]) == [8]
    assert loaded.facts.n_train == 0


def test_a_batch_is_not_compared_with_a_profile_that_somebody_changed(
    settings: StackSettings, caplog: pytest.LogCaptureFixture
) -> None:
    batch_id = f"b-{settings.clean_database}"
    s3 = storage.client("gates", settings)
    profiles.store(batch_id, PROFILE, settings)
    assert profiles.load(batch_id, s3, settings) == PROFILE
    put(settings, f"profiles/{batch_id}.json", b'{"race": {"Asian": 1.0}}')
    with caplog.at_level(logging.ERROR):
        assert profiles.load(batch_id, s3, settings) is None
    assert "is not what the pipeline has stored" in caplog.text
