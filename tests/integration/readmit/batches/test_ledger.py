"""The rule for batches (docs/batches.md) on a real Postgres and S3, a test for each sentence."""

import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import methodcaller
from pathlib import Path

import psycopg2
import pytest

from readmit import db, storage
from readmit.batches import builds, claims, ledger, loading
from readmit.batches.builds import Build
from readmit.errors import BatchRejected, SourceRefused
from readmit.intake import registration, sample, source_file, sources
from readmit.intake.layout import LANDING_COLUMNS
from readmit.intake.source_file import sha256_of
from readmit.intake.split import split_of
from readmit.settings import StackSettings
from tests.support import raw

ROWS = 2_500


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "encounters.csv"
    sample.write_csv(path, n_rows=ROWS)
    return path


@pytest.fixture
def settings(tmp_path: Path, source: Path) -> StackSettings:
    stack_settings = raw.fresh(tmp_path, dataset=str(source))
    raw.stand_in_tables(stack_settings)
    return stack_settings


@pytest.fixture
def registered(settings: StackSettings) -> StackSettings:
    sources.ensure_source(settings)
    return settings


def count(settings: StackSettings, table: str = "landing.encounters") -> int:
    return int(raw.query(settings, settings.raw_database, f"select count(*) from {table}")[0][0])


def through(settings: StackSettings, batch_id: str) -> None:
    """Take one batch from load to published, with a stand-in for dbt."""
    loading.load(batch_id, settings)
    Build.of_batch(batch_id).begin(settings)
    raw.stand_in_build(settings, batch_id)
    Build.of_batch(batch_id).publish(settings)


def begin(batch_id: str, settings: StackSettings) -> None:
    Build.of_batch(batch_id).begin(settings)


def publish(batch_id: str, settings: StackSettings) -> None:
    Build.of_batch(batch_id).publish(settings)


def reject(batch_id: str, reason: str, settings: StackSettings) -> None:
    Build.of_batch(batch_id).begin(settings)
    Build.of_batch(batch_id).reject(reason, settings)


def claimed(settings: StackSettings, run: str = "run") -> str:
    batch_id = raw.claim_batch(run, settings)
    assert batch_id is not None
    return batch_id


# ---- identity and order


def test_work_is_validation_then_test_then_train(registered: StackSettings) -> None:
    order = []
    while (batch_id := raw.claim_batch("run", registered)) is not None:
        order.append(batch_id)
        through(registered, batch_id)
    assert [name.rsplit("-", 1)[0] for name in order[:3]] == [
        "validation-001",
        "test-001",
        "train-001",
    ]
    assert order[2:] == sorted(order[2:])
    assert count(registered) == ROWS
    assert set(raw.ledger_rows(registered).values()) == {"published"}
    assert claims.count_waiting(registered) == 0


def test_raw_holds_the_file_byte_for_byte(registered: StackSettings, source: Path) -> None:
    while (batch_id := raw.claim_batch("run", registered)) is not None:
        through(registered, batch_id)
    columns = ", ".join(LANDING_COLUMNS)
    rows = raw.query(
        registered,
        registered.raw_database,
        f"select {columns} from landing.encounters order by _source_row",
    )
    assert [",".join(row) for row in rows] == source.read_text().splitlines()[1:]


def test_a_file_is_registered_once_however_it_is_packed(
    registered: StackSettings, source: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source, "dataset_diabetes/diabetic_data.csv")
        archive.writestr("dataset_diabetes/IDs_mapping.csv", "admission_type_id,description\r\n")
    before = claims.count_waiting(registered)
    sources.submit(str(packed), registered)
    assert count(registered, "landing.sources") == 1
    assert claims.count_waiting(registered) == before


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(
    registered: StackSettings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.csv"
    lines = source.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:401]))
    own = registered.model_copy(update={"dataset": str(path)})
    assert sources.ensure_source(own)
    with monkeypatch.context() as closed:
        closed.setattr(sources, "fetch", lambda _: pytest.fail("the file was read again"))
        assert sources.ensure_source(own) is None
    path.write_bytes(b"".join([lines[0], *lines[402:802]]))
    assert sources.ensure_source(own)
    assert count(registered, "landing.sources") == 3


def test_batch_whose_content_is_published_is_not_loaded_again(
    registered: StackSettings, source: Path, tmp_path: Path
) -> None:
    while (batch_id := raw.claim_batch("run", registered)) is not None:
        through(registered, batch_id)
    other = tmp_path / "same-rows-other-file.csv"
    other.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))
    sources.submit(str(other), registered)
    assert count(registered, "landing.sources") == 2
    assert claims.count_waiting(registered) == 0
    assert raw.claim_batch("run", registered) is None
    numbers = "select n_rows, n_known, n_changed from landing.sources where name = %s"
    assert raw.query(registered, registered.raw_database, numbers, other.name) == [(ROWS, ROWS, 0)]
    assert f"{other.name}: {ROWS} rows = {ROWS} known + 0 changed + 0 of its batches" in (
        ledger.status_table(registered)
    )


def test_equal_content_waits_for_the_batch_before_it(
    registered: StackSettings, source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "same.csv"
    other.write_bytes(source.read_bytes().replace(b"\r\n", b"\n"))
    n = claims.count_waiting(registered)
    sources.submit(str(other), registered)
    assert claims.count_waiting(registered) == n
    claimed_ids = set()
    for number in range(2 * n):
        claimed_ids.add(raw.claim_batch(f"run {number}", registered))
    assert len(claimed_ids - {None}) == n


def test_a_loaded_copy_ends_when_its_rows_are_published_under_another_name(
    settings: StackSettings, source: Path, tmp_path: Path
) -> None:
    """Both files were rejected, and both are submitted again after the rules have changed."""
    header, *rows = source.read_bytes().splitlines()
    lines = [header]
    for row in rows:
        if split_of(row.split(b",")[1].decode()) == "train" and len(lines) <= 100:
            lines.append(row)
    paths = []
    for name, line_end in (("one.csv", b"\r\n"), ("other.csv", b"\n")):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(line_end.join([*lines, b""]))
    rejected = []
    for path in paths:
        sources.submit(str(path), settings)
        batch_id = raw.claim_batch("run", settings)
        assert batch_id is not None
        loading.load(batch_id, settings)
        Build.of_batch(batch_id).begin(settings)
        Build.of_batch(batch_id).reject("too old", settings)
        rejected.append(batch_id)
    first, copy = rejected
    for path in paths:
        sources.submit(str(path), settings)
    through(settings, first)
    assert raw.ledger_rows(settings) == {first: "published", copy: "superseded"}
    assert f"the same rows are published as {first}" in ledger.status_table(settings)


# ---- refused


def test_a_file_whose_batch_ids_are_taken_is_refused_with_the_reason(
    settings: StackSettings, source: Path
) -> None:
    """Ids have 8 digits of the sha256: two files can begin with the same."""
    digits = sha256_of(source)[:8]
    raw.query(
        settings,
        settings.raw_database,
        "insert into landing.sources (source_sha256, name, data_source, n_rows, object_key)"
        " values ('another', 'another.csv', 'file', 1, 'k');"
        " insert into landing.slices (source_sha256, split, ordinal, batch_id, first_source_row,"
        " last_source_row, n_rows, content_sha256, object_key)"
        " values ('another', 'train', 1, %s, 1, 1, 1, 'c', 'k')",
        f"train-001-{digits}",
    )
    with pytest.raises(SourceRefused, match=f"another file has the batches train-001-{digits}"):
        sources.submit(str(source), settings)
    assert count(settings, "landing.sources") == 1


def test_refusals_of_files_with_equal_first_digits_have_rows_of_their_own(
    settings: StackSettings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("nothing\n")
    sha256 = sha256_of(bad)
    raw.query(
        settings,
        settings.raw_database,
        "insert into landing.batches (batch_id, split, ordinal, n_rows, source_sha256, data_source,"
        " status, reason) values (%s, 'none', 0, 0, 'another', 'file', 'refused', 'its own reason')",
        f"refused-{sha256[:8]}",
    )
    with pytest.raises(SourceRefused):
        sources.submit(str(bad), settings)
    assert set(raw.ledger_rows(settings)) == {f"refused-{sha256[:8]}", f"refused-{sha256}"}
    assert "its own reason" in ledger.status_table(settings)


def test_refused_file_leaves_one_row_with_the_reason_and_nothing_else(
    settings: StackSettings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    sample.write_csv(bad, n_rows=1_500)
    lines = bad.read_bytes().split(b"\r\n")
    lines[1_400] += b",51"
    bad.write_bytes(b"\r\n".join(lines))
    s3 = storage.client("admin", settings)
    bucket = settings.s3_pipeline_bucket
    for _ in range(2):
        with pytest.raises(
            SourceRefused, match=r"bad.csv: row 1400 \(line 1401\), column readmitted: 51 fields"
        ):
            sources.submit(str(bad), settings)
    [(batch_id, n_rows, status, reason)] = raw.query(
        settings,
        settings.raw_database,
        "select batch_id, n_rows, status, reason from landing.batches",
    )
    assert batch_id.startswith("refused-")
    assert (n_rows, status) == (0, "refused")
    assert "row 1400" in reason
    assert count(settings) == count(settings, "landing.slices") == 0
    sha = raw.query(settings, settings.raw_database, "select source_sha256 from landing.batches")[
        0
    ][0]
    assert s3.list_objects_v2(Bucket=bucket, Prefix=f"source/{sha}/")["KeyCount"] == 0
    sources.ensure_source(settings)
    assert claims.count_waiting(settings) > 0


def test_refused_zip_leaves_nothing_unpacked(settings: StackSettings, tmp_path: Path) -> None:
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("diabetic_data.csv", b"0" * 1_000_000)
    with pytest.raises(SourceRefused, match="no line end within"):
        sources.submit(str(packed), settings)
    for path in (settings.readmit_home / "sources").rglob("*"):
        assert not path.is_file(), path


@pytest.mark.parametrize("change", ["grows", "shrinks", "is another"])
def test_file_that_changes_while_it_is_read_is_refused(
    settings: StackSettings,
    source: Path,
    tmp_path: Path,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "changing.csv"
    lines = source.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1_000]))
    rows = {
        "grows": lines[:1_200],
        "shrinks": lines[:800],
        "is another": [lines[0], *lines[1_001:2_000]],
    }[change]
    read = registration.read_blocks

    def read_later(*arguments: str) -> object:
        path.write_bytes(b"".join(rows))
        return read(*arguments)

    with monkeypatch.context() as slow:
        slow.setattr(registration, "read_blocks", read_later)
        with pytest.raises(
            SourceRefused, match=r"changing.csv: the file changed while it was read"
        ):
            sources.submit(str(path), settings)
    assert count(settings, "landing.sources") == 0
    listed = storage.client("admin", settings).list_objects_v2(
        Bucket=settings.s3_pipeline_bucket, Prefix="source/"
    )
    keys = [item["Key"] for item in listed.get("Contents", [])]
    [(sha256,)] = raw.query(
        settings, settings.raw_database, "select source_sha256 from landing.batches"
    )
    assert sha256 not in " ".join(keys)
    sources.submit(str(path), settings)
    assert count(settings, "landing.sources") == 1


def test_an_empty_name_is_not_replaced_by_the_default_file(settings: StackSettings) -> None:
    with pytest.raises(SourceRefused, match="no file is named: make submit FILE="):
        sources.submit("", settings)
    assert count(settings, "landing.sources") == 0


def test_wrong_sha256_is_refused(settings: StackSettings) -> None:
    wrong = settings.model_copy(update={"dataset_sha256": "0" * 64})
    with pytest.raises(SourceRefused, match="DATASET_SHA256 says 0000"):
        sources.ensure_source(wrong)
    assert list(raw.ledger_rows(settings).values()) == ["refused"]


def test_real_rows_are_not_mixed_with_the_sample(registered: StackSettings) -> None:
    raw.query(
        registered, registered.raw_database, "update landing.sources set data_source = 'sample'"
    )
    with pytest.raises(SourceRefused, match="make clean"):
        sources.ensure_source(registered)


def test_the_public_file_is_never_added_to_own_files(
    registered: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = registered.model_copy(update={"dataset": None})
    monkeypatch.setattr(sources, "fetch", lambda *_: pytest.fail("the public file was fetched"))
    assert sources.ensure_source(unset) is None
    assert count(unset, "landing.sources") == 1


def test_a_file_that_is_submitted_during_the_download_keeps_the_public_one_out(
    settings: StackSettings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = tmp_path / "public.csv"
    sample.write_csv(public, n_rows=400, seed=5)

    def fetch_slowly(*_: object) -> source_file.Fetched:
        monkeypatch.undo()
        sources.submit(str(source), settings)
        return replace(source_file.fetch_file(public), data_source="uci")

    monkeypatch.setattr(sources, "fetch", fetch_slowly)
    assert sources.ensure_source(settings.model_copy(update={"dataset": None})) is None
    assert raw.query(settings, settings.raw_database, "select name from landing.sources") == [
        (source.name,)
    ]


# ---- claim


def test_two_runs_at_once_never_claim_the_same_batch(registered: StackSettings) -> None:
    n = claims.count_waiting(registered)
    together = threading.Barrier(n + 2)

    def take(i: int) -> str | None:
        together.wait()
        return raw.claim_batch(f"run {i}", registered)

    with ThreadPoolExecutor(n + 2) as pool:
        batch_ids = list(pool.map(take, range(n + 2)))
    assert batch_ids.count(None) == 2
    assert len(set(batch_ids) - {None}) == n


def test_a_run_that_asks_again_keeps_its_batch(registered: StackSettings) -> None:
    assert claimed(registered, "one") == claimed(registered, "one") != claimed(registered, "two")
    loading.load(claimed(registered, "one"), registered)
    assert claimed(registered, "one").startswith("validation-001")


def test_a_dead_run_loses_its_batch_when_the_lease_ends(registered: StackSettings) -> None:
    first = claimed(registered, "dead")
    assert claimed(registered, "living") != first
    claims.release_claim("living", registered)
    raw.query(
        registered,
        registered.raw_database,
        "update landing.claims set claimed_at = claimed_at - interval '1 h'",
    )
    assert claimed(registered, "heir") == first


def test_a_lease_from_before_the_clock_was_set_back_blocks_nothing(
    registered: StackSettings,
) -> None:
    first = claimed(registered, "dead")
    loading.load(first, registered)
    Build.of_batch(first).begin(registered)
    ahead = "update {} set {} = clock_timestamp() + interval '1 year'"
    raw.query(registered, registered.raw_database, ahead.format("landing.claims", "claimed_at"))
    raw.query(registered, registered.clean_database, ahead.format("ops.current_build", "set_at"))
    assert claimed(registered, "heir") == first
    second = claimed(registered, "other")
    loading.load(second, registered)
    Build.of_batch(second).begin(registered)
    assert raw.query(
        registered, registered.clean_database, "select build_id from ops.current_build"
    ) == [(second,)]


def test_a_released_batch_is_claimed_next(registered: StackSettings) -> None:
    first = claimed(registered, "one")
    claims.release_claim("one", registered)
    assert claimed(registered, "two") == first


# ---- load


def test_load_twice_loads_once(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    n_rows = loading.load(batch_id, registered)
    assert loading.load(batch_id, registered) == n_rows == count(registered)


def test_two_loads_at_once_load_once(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    with ThreadPoolExecutor(4) as pool:
        n_rows = list(pool.map(loading.load, [batch_id] * 4, [registered] * 4))
    assert n_rows == [count(registered)] * 4


def test_changed_bytes_in_s3_are_not_loaded(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    key = raw.query(
        registered,
        registered.raw_database,
        "select object_key from landing.slices order by batch_id desc",
    )
    s3 = storage.client("admin", registered)
    bucket = registered.s3_pipeline_bucket
    body = s3.get_object(Bucket=bucket, Key=key[0][0])["Body"].read()
    s3.put_object(Bucket=bucket, Key=key[0][0], Body=body.replace(b"Steady", b"steady", 1))
    with pytest.raises(loading.ObjectChanged, match=batch_id):
        loading.load(batch_id, registered)
    assert count(registered) == 0
    s3.put_object(Bucket=bucket, Key=key[0][0], Body=body)
    assert loading.load(batch_id, registered) == count(registered)


def test_a_file_that_is_submitted_again_restores_its_lost_objects(
    registered: StackSettings, source: Path
) -> None:
    first = claimed(registered)
    loading.load(first, registered)
    s3 = storage.client("admin", registered)
    bucket = registered.s3_pipeline_bucket
    keys = raw.query(
        registered, registered.raw_database, "select batch_id, object_key from landing.slices"
    )
    for _, key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    claims.release_claim("run", registered)
    for batch_id, _ in keys:
        if batch_id == first:
            continue
        with pytest.raises(
            loading.ObjectChanged, match=f"{batch_id}.*is gone: submit the same file again"
        ):
            loading.load(batch_id, registered)
    sources.submit(str(source), registered.model_copy(update={"batch_size": 70}))
    assert (
        sum(loading.load(batch_id, registered) for batch_id, _ in keys) == count(registered) == ROWS
    )


def test_unknown_batch_cannot_be_loaded(registered: StackSettings) -> None:
    with pytest.raises(LookupError, match="no such batch"):
        loading.load("train-999-00000000", registered)


SLOW_LOAD = """
import sys, time
from readmit.batches import builds
from readmit.batches import claims
from readmit.batches import ledger
from readmit.batches import loading
from readmit.intake import sources
from readmit.intake import slices
from readmit.settings import StackSettings
class Slow(slices.Checked):
    n = 0
    def read(self, size):
        self.n += 1
        if self.n == 3:
            print("half way", flush=True)
            time.sleep(60)
        return super().read(10_000)
slices.Checked = Slow
loading.load(sys.argv[1], StackSettings())
"""


def half_way(settings: StackSettings, batch_id: str) -> "subprocess.Popen[str]":
    """Start a load in a process of its own and return when it is in the middle of its COPY."""
    command = [sys.executable, "-c", SLOW_LOAD, batch_id]
    process = subprocess.Popen(
        command, env=raw.environment(settings), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    return process


def test_loader_killed_during_copy_leaves_nothing_and_the_next_one_finishes(
    registered: StackSettings,
) -> None:
    batch_id = claimed(registered)
    process = half_way(registered, batch_id)
    process.kill()
    process.communicate()
    assert count(registered) == 0
    assert raw.ledger_rows(registered) == {}
    assert loading.load(batch_id, registered) == count(registered)


def test_postgres_session_killed_during_copy_leaves_nothing(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    process = half_way(registered, batch_id)
    end = """
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = %s and application_name like %s
    """
    raw.query(registered, "postgres", end, registered.raw_database, "readmit loader")
    process.kill()
    process.communicate()
    assert count(registered) == 0
    assert loading.load(batch_id, registered) == count(registered)


# ---- publish and reject


def test_batch_becomes_visible_by_one_insert_and_the_ledger_follows(
    registered: StackSettings,
) -> None:
    batch_id = claimed(registered)
    through(registered, batch_id)
    facts = """
        select batch_id, kind, n_rows, n_features, n_quarantined, n_excluded
        from ops.published_batches
    """
    n = count(registered)
    assert raw.query(registered, registered.clean_database, facts) == [
        (batch_id, "batch", n, n, 0, 0)
    ]
    assert raw.ledger_rows(registered) == {batch_id: "published"}
    assert raw.query(registered, registered.clean_database, "select * from ops.current_build") == []


def test_publish_twice_publishes_once(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    through(registered, batch_id)
    before = raw.query(registered, registered.clean_database, "select * from ops.published_batches")
    Build.of_batch(batch_id).publish(registered)
    assert (
        raw.query(registered, registered.clean_database, "select * from ops.published_batches")
        == before
    )


def test_batch_whose_rows_do_not_add_up_is_not_published(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    loading.load(batch_id, registered)
    Build.of_batch(batch_id).begin(registered)
    raw.stand_in_build(registered, batch_id)
    lose = "delete from {} where ctid = (select min(ctid) from {})"
    for table in ("intermediate.int_encounters__features", "staging.stg_uci__encounters"):
        raw.query(
            registered, registered.clean_database, lose.format(table, table), role="transformer"
        )
        with pytest.raises(builds.AccountingBroken, match=batch_id):
            Build.of_batch(batch_id).publish(registered)
    assert (
        raw.query(registered, registered.clean_database, "select * from ops.published_batches")
        == []
    )


def test_ledger_is_repaired_after_a_crash_between_the_two_databases(
    registered: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = claimed(registered)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "follow", crash)
        with pytest.raises(KeyboardInterrupt):
            through(registered, batch_id)
    assert raw.ledger_rows(registered) == {batch_id: "loaded"}
    assert claimed(registered, "next") != batch_id
    assert raw.ledger_rows(registered) == {batch_id: "published"}


def test_rejected_batch_stays_in_raw_with_its_reason_and_nothing_else(
    registered: StackSettings,
) -> None:
    batch_id = claimed(registered)
    loading.load(batch_id, registered)
    Build.of_batch(batch_id).begin(registered)
    raw.stand_in_build(registered, batch_id)
    n = count(registered)
    for _ in range(2):
        Build.of_batch(batch_id).reject("null rate of race is 0.4, at most 0.2", registered)
    assert count(registered) == n
    assert raw.ledger_rows(registered) == {batch_id: "rejected"}
    assert (
        raw.query(
            registered,
            registered.clean_database,
            "select * from intermediate.int_encounters__features",
        )
        == []
    )
    assert "null rate of race" in ledger.status_table(registered)


@pytest.mark.parametrize("step", [loading.load, begin, publish])
def test_no_later_step_takes_a_rejected_batch(
    registered: StackSettings, step: Callable[..., object]
) -> None:
    batch_id = claimed(registered)
    loading.load(batch_id, registered)
    reject(batch_id, "nonsense", registered)
    with pytest.raises(BatchRejected, match=r"is rejected \(nonsense\)"):
        step(batch_id, registered)


def test_a_rejected_batch_does_not_block_the_next_one(registered: StackSettings) -> None:
    first = claimed(registered, "one")
    loading.load(first, registered)
    Build.of_batch(first).begin(registered)
    Build.of_batch(first).reject("nonsense", registered)
    second = claimed(registered, "two")
    assert second != first
    through(registered, second)


def test_published_batch_cannot_be_rejected(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    through(registered, batch_id)
    with pytest.raises(psycopg2.errors.RaiseException, match="is published and stays"):
        Build.of_batch(batch_id).reject("too late", registered)
    assert raw.ledger_rows(registered) == {batch_id: "published"}


def test_dbt_builds_nothing_of_a_published_batch(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    through(registered, batch_id)
    Build.of_batch(batch_id).begin(registered)
    assert raw.query(registered, registered.clean_database, "select * from ops.current_build") == []


def test_one_build_at_a_time(registered: StackSettings) -> None:
    first = claimed(registered, "one")
    second = claimed(registered, "two")
    for batch_id in (first, second):
        loading.load(batch_id, registered)
    Build.of_batch(first).begin(registered)
    Build.of_batch(first).begin(registered)
    with pytest.raises(builds.BuildBusy, match=first):
        Build.of_batch(second).begin(registered)
    claims.release_claim("one", registered)
    Build.of_batch(second).begin(registered)


def test_a_published_build_replaces_the_rows_of_its_patients(registered: StackSettings) -> None:
    first = claimed(registered)
    through(registered, first)
    features = "intermediate.int_encounters__features"
    [(patient,)] = raw.query(
        registered, registered.clean_database, f"select min(patient_nbr) from {features}"
    )
    before = raw.query(registered, registered.clean_database, f"select count(*) from {features}")[
        0
    ][0]
    second = claimed(registered)
    loading.load(second, registered)
    Build.of_batch(second).begin(registered)
    raw.stand_in_build(registered, second)
    rewrite = f"""
        insert into {features}
        select encounter_id, patient_nbr, _batch_id, %s from {features} where patient_nbr = %s
    """
    raw.query(registered, registered.clean_database, rewrite, second, patient, role="transformer")
    Build.of_batch(second).publish(registered)
    versions = f"select distinct _build_id from {features} where patient_nbr = %s"
    assert raw.query(registered, registered.clean_database, versions, patient) == [(second,)]
    rows_of_batch = f"select count(*) from {features} where _batch_id = %s"
    assert raw.query(registered, registered.clean_database, rows_of_batch, first)[0][0] == before


# ---- resend


def rows_of(
    settings: StackSettings, batch_id: str, target: Path, change: Callable[[str], str]
) -> Path:
    columns = ", ".join(LANDING_COLUMNS)
    statement = (
        f"select {columns} from landing.encounters where _batch_id = %s order by _source_row"
    )
    rows = raw.query(settings, settings.raw_database, statement, batch_id)
    header = Path(str(settings.dataset)).read_text().splitlines()[0]
    target.write_text("\n".join([header, *(change(",".join(row)) for row in rows), ""]))
    return target


@pytest.mark.parametrize("is_named", [True, False])
def test_corrected_resend_supersedes_the_rejected_batch(
    registered: StackSettings, tmp_path: Path, is_named: bool
) -> None:
    rejected = claimed(registered)
    loading.load(rejected, registered)
    reject(rejected, "nonsense", registered)
    male = methodcaller("replace", "Male", "male")
    resend = rows_of(registered, rejected, tmp_path / "resend.csv", male)
    if is_named:
        sources.submit(str(resend), registered, rejected)
    else:
        sources.submit(str(resend), registered)
    while (batch_id := raw.claim_batch("run", registered)) is not None:
        through(registered, batch_id)
    states = raw.ledger_rows(registered)
    assert states.pop(rejected) == "superseded"
    assert set(states.values()) == {"published"}
    facts = "select batch_id from landing.batches where supersedes = %s"
    [(resent,)] = raw.query(registered, registered.raw_database, facts, rejected)
    assert resent.startswith("validation-001-")
    assert resent != rejected


def test_resend_must_name_a_rejected_batch_and_hold_its_rows_only(
    registered: StackSettings, source: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "all.csv"
    changed.write_text(source.read_text().replace("Male", "male"))
    rejected = claimed(registered)
    with pytest.raises(SourceRefused, match="is not in the ledger; only a rejected batch"):
        sources.submit(str(changed), registered, rejected)
    loading.load(rejected, registered)
    reject(rejected, "nonsense", registered)
    with pytest.raises(SourceRefused, match="must make one validation batch"):
        sources.submit(str(changed), registered, rejected)
    key = f"source/{sha256_of(changed)}/"
    listed = storage.client("admin", registered).list_objects_v2(
        Bucket=registered.s3_pipeline_bucket, Prefix=key
    )
    assert listed["KeyCount"] == 0


def test_rejected_batch_is_judged_again_when_its_file_is_submitted_again(
    registered: StackSettings, source: Path
) -> None:
    """For a wrong rule, not wrong rows: docs/runbook-data.md."""
    rejected = claimed(registered)
    loading.load(rejected, registered)
    reject(rejected, "a code that the table did not have", registered)
    n = claims.count_waiting(registered)
    for _ in range(2):
        sources.submit(str(source), registered, rejected)
    assert claims.count_waiting(registered) == n + 1
    while (batch_id := raw.claim_batch("run", registered)) is not None:
        through(registered, batch_id)
    assert set(raw.ledger_rows(registered).values()) == {"published"}
    assert count(registered) == ROWS
    sources.submit(str(source), registered)
    assert claims.count_waiting(registered) == 0


def test_known_file_cannot_become_the_correction_of_another_batch(
    registered: StackSettings, source: Path
) -> None:
    with pytest.raises(
        SourceRefused, match=r"is registered as .* cannot be made a correction of train-009"
    ):
        sources.submit(str(source), registered, "train-009-00000000")


# ---- faults and the command line


def test_an_ended_session_raises_the_error_of_postgres(registered: StackSettings) -> None:
    def session_that_ends() -> None:
        end = """
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = %s and application_name = %s
        """
        with (
            db.transaction("loader", registered.raw_database, registered) as session,
            session.cursor() as cur,
        ):
            raw.query(registered, "postgres", end, registered.raw_database, "readmit loader")
            cur.execute("select 1")

    with pytest.raises(psycopg2.OperationalError):
        session_that_ends()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("READMIT_S3_LOADER_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"),
        ("READMIT_S3_ENDPOINT_URL", "http://127.0.0.1:9", "Could not connect"),
        ("READMIT_POSTGRES_PORT", "1024", "Connection refused"),
        ("READMIT_LOADER_PASSWORD", "wrong", "password authentication failed"),
        ("READMIT_HOME", "/proc/no", "No such file or directory: '/proc/no"),
    ],
)
def test_command_line_reports_a_fault_in_one_line(
    settings: StackSettings,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    value: str,
    message: str,
) -> None:
    for variable, text in (raw.environment(settings) | {name: value}).items():
        monkeypatch.setenv(variable, text)
    assert sources.main(["submit", str(source)]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_steps_repeated_in_any_order_end_as_a_run_without_faults(registered: StackSettings) -> None:
    batch_id = claimed(registered)
    for step in (loading.load, loading.load, begin, loading.load, begin):
        step(batch_id, registered)
    for _ in range(2):
        raw.stand_in_build(registered, batch_id)
    for step in (publish, loading.load, begin, publish):
        step(batch_id, registered)
    assert raw.ledger_rows(registered) == {batch_id: "published"}
    facts = "select n_rows = n_features, n_features from ops.published_batches"
    assert raw.query(registered, registered.clean_database, facts) == [(True, count(registered))]


def test_command_line_submits_and_prints_the_ledger(
    settings: StackSettings, source: Path, tmp_path: Path
) -> None:
    def run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            command, env=raw.environment(settings), capture_output=True, text=True, check=False
        )

    assert "of its batches wait" in run("readmit.intake.sources", "submit", str(source)).stdout
    printed = run("readmit.batches.ledger", "status")
    assert printed.stdout.splitlines()[1].split()[2] == "waiting"
    (tmp_path / "empty.csv").touch()
    refused = run("readmit.intake.sources", "submit", str(tmp_path / "empty.csv"))
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: empty.csv: header (line 1), column encounter_id: the file is empty"
    )
    assert "refused" in run("readmit.batches.ledger", "status").stdout
    assert "nothing to repair" in run("readmit.batches.ledger", "repair").stdout


def test_claim_waits_for_the_other_claim_and_not_longer(registered: StackSettings) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(raw.claim_batch, ["run 0", "run 1"], [registered] * 2))
    assert time.monotonic() - started < 10


def test_registering_twice_at_once_makes_one_plan(settings: StackSettings) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(sources.ensure_source, [settings] * 2))
    assert count(settings, "landing.sources") == 1
