"""Backups on a real Postgres and object store: saved, everything lost, put back."""

import base64
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from k8s.make_secrets import missing
from readmit import db, storage
from readmit.batches import loading
from readmit.batches.builds import Build, BuildLost
from readmit.intake import sample as embedded
from readmit.intake import sources
from readmit.ops import (
    backup,
    backup_folder,
    carried_erasures,
    erasure,
    pg_programs,
    restore,
    schema_versions,
)
from readmit.ops.bootstrap import bootstrap
from readmit.ops.schema_versions import MigrationFailed, SchemaTooNew
from readmit.settings import BadSetting, StackSettings
from stack import temporary_services
from tests.support import k8s, kills, raw, services
from tests.support.services import environment, keys_of_admin

Sealed = tuple[StackSettings, Path]
# The foreign tables of `clean` show what is in `raw`: both must come back.
ROWS = "select count(*), md5(string_agg(t::text, ',' order by t::text)) from"


@pytest.fixture(scope="module", autouse=True)
def own_services() -> Iterator[None]:
    """Servers of this file's own.

    Backups and restores take the databases of MLflow and Airflow as a whole, and other tests of
    this process have models in them.
    """
    own = temporary_services.services.__wrapped__()
    with pytest.MonkeyPatch.context() as patch:
        for module in (temporary_services, services):
            patch.setattr(module, "services", lambda: own)
        yield


@pytest.fixture(scope="module")
def shared(own_services: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackSettings]:
    """A stack for the tests that leave it as it was."""
    with stack(tmp_path_factory.mktemp("shared")) as values:
        yield values


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[StackSettings]:
    """A stack for a test that changes it."""
    with stack(tmp_path) as values:
        yield values


@contextmanager
def stack(folder: Path) -> Iterator[StackSettings]:
    """A stack with a loaded batch, a model's file and rows in MLflow's and Airflow's databases."""
    names = {
        "s3_mlflow_bucket": f"m{os.urandom(4).hex()}",
        "s3_pipeline_bucket": f"p{os.urandom(4).hex()}",
    }
    settings = raw.fresh(
        folder / "home", dataset=str(sample(folder)), **names, **keys_of_admin("loader")
    )
    storage.ensure_buckets(settings)
    sources.ensure_source(settings)
    batch = raw.claim_batch("run", settings)
    assert batch
    loading.load(batch, settings)
    storage.client("admin", settings).put_object(
        Bucket=settings.s3_mlflow_bucket, Key="1/models/m-1/model.onnx", Body=b"\x00" * 5000
    )
    for name in ("mlflow", "airflow"):
        raw.query(settings, name, "create table if not exists kept (n int)", role=name)
        raw.query(settings, name, "truncate kept; insert into kept values (1)", role=name)
    yield settings
    s3 = storage.client("admin", settings)
    empty_buckets(settings)  # the store has a limited number of volumes, and each bucket takes some
    for bucket in restore.buckets(settings):
        s3.delete_bucket(Bucket=bucket)


def sample(folder: Path) -> Path:
    path = folder / "sample.csv"
    embedded.write_csv(path, n_rows=800)
    return path


def state(settings: StackSettings) -> dict[str, object]:
    """Return what a restore must bring back."""
    queries = {
        settings.raw_database: f"{ROWS} landing.encounters t",
        settings.clean_database: f"{ROWS} raw.encounters t",
        "mlflow": "select n from kept",
        "airflow": "select n from kept",
    }
    roles: dict[str, db.Role] = {settings.clean_database: "transformer"}
    content: dict[str, object] = {}
    for name, text in queries.items():
        content[name] = raw.query(settings, name, text, role=roles.get(name, "postgres"))
    for bucket in restore.buckets(settings):
        pages = (
            storage.client("admin", settings)
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket)
        )
        objects = []
        for page in pages:
            for entry in page.get("Contents", []):
                objects.append((entry["Key"], entry["Size"]))
        content[bucket] = sorted(objects)
    return content


def lose_everything(settings: StackSettings) -> None:
    restore.drop_databases([*restore.databases(settings)], settings)
    empty_buckets(settings)


def empty_buckets(settings: StackSettings) -> None:
    for bucket in restore.buckets(settings):
        s3 = storage.client("admin", settings)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=entry["Key"])


def test_everything_is_restored_and_roles_keep_their_rights(
    shared: StackSettings, tmp_path: Path
) -> None:
    before = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    lose_everything(shared)
    backup.restore_from(saved, shared)
    assert state(shared) == before
    counted = raw.query(
        shared, shared.clean_database, "select count(*) from raw.encounters", role="transformer"
    )
    assert counted[0][0] > 0  # through the foreign tables: the mapping has today's password
    with pytest.raises(Exception, match="permission denied"):
        raw.query(shared, shared.raw_database, "delete from landing.encounters", role="reader")
    with pytest.raises(Exception, match="permission denied"):
        raw.query(shared, shared.raw_database, "select 1", role="trainer")


def in_the_pod(
    name: str, settings: StackSettings, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the rendered command with the settings and Secrets of its pod, and no others."""
    pod = k8s.pods(k8s.overlay("local"))[name]
    main = pod["spec"]["containers"][0]
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in missing({})}
    granted = set()
    for source in main["envFrom"]:
        for key in keys.get(source.get("secretRef", {}).get("name"), ()):
            granted.add(source.get("prefix", "") + key)
    variables = {}
    for key, value in environment(settings).items():
        is_secret = key.endswith("PASSWORD") or "SECRET" in key or "ACCESS_KEY" in key
        if key in granted or not is_secret:
            variables[key] = value
    words = list(main["command"])
    words[words.index("/backups")] = str(folder)
    return subprocess.run(
        [sys.executable, *words[1:]],
        env=variables,
        cwd=k8s.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pods_save_and_restore_with_their_own_secrets(
    shared: StackSettings, tmp_path: Path
) -> None:
    before = state(shared)
    folder = tmp_path / "backups"
    folder.mkdir()
    assert in_the_pod("backup", shared, folder).returncode == 0
    lose_everything(shared)
    process = in_the_pod("restore", shared, folder)
    assert process.returncode == 0, process.stderr
    assert state(shared) == before


def test_a_restore_over_a_running_stack_removes_later_rows(
    shared: StackSettings, tmp_path: Path
) -> None:
    before = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    raw.query(shared, "mlflow", "insert into kept values (2)", role="mlflow")
    with db.transaction("mlflow", "mlflow", shared):  # somebody is connected
        backup.restore_from(saved, shared)
    assert state(shared) == before


def test_the_last_ones_are_kept_and_unchanged_objects_are_stored_once(
    shared: StackSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    key = "1/models/m-1/model.onnx"
    copies = []
    for number in range(3):
        saved = folder / f"2026010{number}T000000Z"
        backup.save(folder, shared).rename(saved)
        copies.append(backup_folder.object_file(saved, shared.s3_mlflow_bucket, key))
    assert len({path.stat().st_ino for path in copies}) == 1
    newest = backup.save(folder, shared.model_copy(update={"readmit_backup_keep": 2}))
    assert backup.saved(folder) == [folder / "20260102T000000Z", newest]


def test_a_damaged_backup_is_refused_before_anything_is_touched(
    shared: StackSettings, tmp_path: Path
) -> None:
    saved = backup.save(tmp_path / "backups", shared)
    before = state(shared)
    path = backup_folder.object_file(saved, shared.s3_mlflow_bucket, "1/models/m-1/model.onnx")
    path.write_bytes(b"\x01" * 5000)
    with pytest.raises(backup.BackupFailed, match=r"model\.onnx is missing or damaged"):
        backup.restore_from(saved, shared)
    (saved / "mlflow.dump").write_bytes(b"PGDMP")
    with pytest.raises(backup.BackupFailed, match="mlflow"):
        backup.restore_from(saved, shared)
    assert state(shared) == before


def test_an_interrupted_backup_does_not_count(
    shared: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    (folder / "20260101T000000Z.part").mkdir(parents=True)
    assert backup.saved(folder) == []
    saved = backup.save(folder, shared)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", saved.name]
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(pg_programs, "find_spec", lambda _: None)
    with pytest.raises(backup.BackupFailed, match="pg_dump is not on the PATH"):
        backup.save(folder, shared)


KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()


def with_key(settings: StackSettings, key: str | None = KEY) -> StackSettings:
    secret = None
    if key:
        secret = SecretStr(key)
    return settings.model_copy(update={"readmit_backup_key": secret})


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_an_encrypted_backup_shows_nothing_and_is_restored(
    shared: StackSettings, tmp_path: Path
) -> None:
    before = state(shared)
    saved = backup.save(tmp_path / "backups", with_key(shared))
    for path in saved.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"encounter_id" not in content, path
            assert b"PGDMP" not in content, path
    lose_everything(shared)
    for key, message in ((None, "is encrypted"), (OTHER_KEY, "is another key")):
        with pytest.raises(backup.BackupFailed, match=message):
            backup.restore_from(saved, with_key(shared, key))
    backup.restore_from(saved, with_key(shared))
    assert state(shared) == before


def test_an_invalid_key_is_named(shared: StackSettings, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="READMIT_BACKUP_KEY is not 32 bytes"):
        backup.save(tmp_path / "backups", with_key(shared, "short"))


def test_a_backup_without_a_key_can_be_restored_when_there_is_one_now(
    shared: StackSettings, tmp_path: Path
) -> None:
    before = state(shared)
    folder = tmp_path / "backups"
    saved = backup.save(folder, shared)
    sealed = backup.save(folder, with_key(shared))  # none of its files is a link to a clear one
    assert not inodes(saved) & inodes(sealed)
    backup.restore_from(saved, with_key(shared))
    assert state(shared) == before


@pytest.fixture(scope="module")
def sealed(shared: StackSettings, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """An encrypted backup."""
    keyed = with_key(shared)
    return keyed, backup.save(tmp_path_factory.mktemp("sealed"), keyed)


@pytest.mark.parametrize("change", ["truncate", "flip", "remove"])
@pytest.mark.parametrize("name", ["raw.dump", "manifest.json"])
def test_a_file_that_changed_is_refused(
    sealed: Sealed, tmp_path: Path, name: str, change: str
) -> None:
    settings, original = sealed
    saved = tmp_path / original.name
    shutil.copytree(original, saved)
    backup.check(saved, settings)
    file = name
    if name == "raw.dump":
        file = f"{settings.raw_database}.dump"
    content = (saved / file).read_bytes()
    if change == "truncate":
        (saved / file).write_bytes(content[: len(content) // 2])
    elif change == "flip":
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        (saved / file).write_bytes(content[:middle] + flipped + content[middle + 1 :])
    else:
        (saved / file).unlink()
    with pytest.raises(backup.BackupFailed, match=r"damaged|no backup"):
        backup.check(saved, settings)


def test_a_damaged_object_is_copied_anew_by_the_next_backup(
    shared: StackSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    first = backup.save(folder, shared)
    key = "1/models/m-1/model.onnx"
    backup_folder.object_file(first, shared.s3_mlflow_bucket, key).write_bytes(b"\x01" * 5000)
    backup.check(backup.save(folder, shared), shared)


def test_a_batch_that_is_published_meanwhile_is_complete_or_absent(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the databases were dumped one after the other: `raw` had no rows of a batch that
    `clean` had published.
    """
    first = backup.pg_programs.pipe

    def publish(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(backup.pg_programs, "pipe", first)
        raw.query(
            settings,
            settings.raw_database,
            "update landing.batches set status = 'published', published_at = now();"
            " insert into landing.batches (batch_id, split, ordinal, n_rows, source_sha256,"
            " data_source, status) values ('late', 'train', 9, 1, 'x', 'sample', 'published')",
            role="postgres",
        )
        insert = (
            "insert into ops.published_batches values ('late', 'late', 'batch', now(), 1, 1, 0, 0)"
        )
        raw.query(settings, settings.clean_database, insert, role="postgres")
        return first(*arguments, **options)

    monkeypatch.setattr(backup.pg_programs, "pipe", publish)
    saved = backup.save(tmp_path / "backups", settings)
    backup.restore_from(saved, settings)
    counted = raw.query(
        settings,
        settings.raw_database,
        "select count(*) from landing.batches where status = 'published'",
        role="postgres",
    )
    assert counted == [(0,)]


def test_a_publication_under_way_ends_before_the_snapshot(
    shared: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "SECONDS_FOR_LOCK", 1)
    with db.transaction("postgres", shared.clean_database, shared) as clean:
        clean.cursor().execute("lock table ops.published_batches in row exclusive mode")
        with pytest.raises(backup.BackupFailed, match="publication has not ended"):
            backup.save(tmp_path / "backups", shared)
    assert backup.saved(tmp_path / "backups") == []


@pytest.mark.parametrize(
    ("database", "statement", "message"),
    [
        ("raw_database", "update landing.batches set n_rows = n_rows + 1", "rows in RAW"),
        ("raw_database", "update landing.batches set status = 'published'", "ledger only"),
        (
            "clean_database",
            "insert into ops.published_batches values ('b', 'b', 'batch', now(), 1, 1, 0, 0)",
            "not in the ledger",
        ),
    ],
)
def test_a_backup_whose_rows_do_not_add_up_is_not_switched_in(
    settings: StackSettings, tmp_path: Path, database: str, statement: str, message: str
) -> None:
    name = getattr(settings, database)
    raw.query(settings, name, statement, role="postgres")
    saved = backup.save(tmp_path / "backups", settings)
    raw.query(settings, "mlflow", "insert into kept values (2)", role="mlflow")
    before = state(settings)
    with pytest.raises(backup.BackupFailed, match=message):
        backup.restore_from(saved, settings)
    assert state(settings) == before
    backup.restore_from(saved, settings, is_forced=True)
    assert state(settings) != before
    assert len(restore.forget(settings)) == 4


# Where a restore is killed, after how many calls: up to the switch, and after it.
BEFORE_THE_SWITCH = (("_load", 2), ("_problems", 1), ("_fill_bucket", 2), ("drop_databases", 2))
AFTER_THE_SWITCH = (("_switch", 1), ("_fill_bucket", 3))


def test_a_restore_that_was_killed_changed_nothing_or_is_repeated(
    shared: StackSettings, tmp_path: Path
) -> None:
    as_saved = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    key = "1/models/m-1/model.onnx"
    s3 = storage.client("admin", shared)
    s3.put_object(Bucket=shared.s3_mlflow_bucket, Key=key, Body=b"another size")
    raw.query(shared, "mlflow", "insert into kept values (2)", role="mlflow")
    changed = state(shared)

    def restore_all() -> None:
        held = "select count(*) from pg_locks where locktype = 'advisory'"
        services.wait_until(
            lambda: raw.query(shared, "postgres", held) == [(0,)], "the lock of a killed restore"
        )
        backup.restore_from(saved, shared)

    for stage, n_calls in BEFORE_THE_SWITCH:
        kills.run_until(restore, stage, restore_all, n_calls=n_calls)
        assert state(shared) == changed, stage
    for stage, n_calls in AFTER_THE_SWITCH:
        kills.run_until(restore, stage, restore_all, n_calls=n_calls)
    restore_all()
    assert state(shared) == as_saved
    names = "select count(*) from pg_database where datname like '%%\\_restored'"
    assert raw.query(shared, "postgres", names) == [(0,)]


# Where a backup is killed, after how many calls.
STAGES_OF_A_BACKUP = (
    (pg_programs, "pipe", 2),
    (backup, "_copy_bucket", 1),
    (backup_folder, "write_manifest", 1),
    (carried_erasures, "remember", 1),
)


def test_a_backup_that_was_killed_is_whole_or_none(shared: StackSettings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    before = state(shared)
    numbers = []
    for module, stage, n_calls in STAGES_OF_A_BACKUP:
        kills.run_until(module, stage, lambda: backup.save(folder, shared), n_calls=n_calls)
        numbers.append(len(backup.saved(folder)))
    assert numbers == [0, 0, 0, 1]  # the last was complete
    backup.check(backup.newest(folder), shared)
    newest = backup.save(folder, shared.model_copy(update={"readmit_backup_keep": 1}))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", newest.name]
    lose_everything(shared)
    backup.restore_from(newest, shared)
    assert state(shared) == before


def test_an_upgrade_that_failed_half_way_goes_back_by_the_backup_before_it(
    shared: StackSettings, tmp_path: Path
) -> None:
    """`raw` was brought forward and `clean` was not: the code of before refuses `raw`, and its
    restore refused it too.
    """
    before = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    newer = tmp_path / "migrations"
    shutil.copytree(schema_versions.FOLDER, newer)
    (newer / "raw/9001_right.sql").write_text("alter table landing.sources add column x int;")
    (newer / "clean/9001_wrong.sql").write_text("create table ops.half (x int); select 1 / 0;")
    with pytest.raises(MigrationFailed, match=r"division by zero.* or go back to the release"):
        schema_versions.migrate(shared, newer)
    exists = "select to_regclass('ops.half') is null"
    assert raw.query(shared, shared.clean_database, exists) == [(True,)]
    with pytest.raises(SchemaTooNew, match=r"or restore a backup from before"):
        bootstrap(shared)
    backup.restore_from(saved, shared)
    bootstrap(shared)
    assert state(shared) == before


def test_what_a_full_disk_stopped_gives_its_room_back(
    shared: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    load = restore._load

    def load_until_full(name: str, *arguments: Any) -> None:
        load(name, *arguments)
        if name == "mlflow":
            raise backup.BackupFailed("pg_restore, the dump of mlflow: No space left on device")

    monkeypatch.setattr(restore, "_load", load_until_full)
    with pytest.raises(backup.BackupFailed, match="No space left"):
        backup.restore_from(saved, shared)
    names = "select count(*) from pg_database where datname like '%%\\_restored'"
    assert raw.query(shared, "postgres", names) == [(0,)]
    assert state(shared) == before


def test_a_full_disk_leaves_the_earlier_backups(
    shared: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    saved = backup.save(folder, shared)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(backup.BackupFailed, match="is full"):
        backup.save(folder, shared.model_copy(update={"readmit_backup_keep": 1}))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", saved.name]
    backup.check(saved, shared)


def test_two_backups_at_once_do_not_disturb_each_other(
    shared: StackSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    with backup_folder.locked(folder), pytest.raises(backup.BackupFailed, match="under way"):
        backup.save(folder, shared)


def test_a_clock_that_was_put_back_neither_expires_nor_hides_the_new_backup(
    shared: StackSettings, tmp_path: Path
) -> None:
    """With one kept, the new backup was removed at once; a restore took the one of the future."""
    folder = tmp_path / "backups"
    first = backup.save(folder, shared)
    future = first.rename(folder / "20990101T000000Z")
    one = shared.model_copy(update={"readmit_backup_keep": 1})
    new = backup.save(folder, one)
    assert backup.saved(folder) == [new]
    assert new.name > future.name
    assert backup.newest(folder) == new
    assert backup.check(new, shared).created_at < "2099"


def test_a_killed_backup_is_none_and_does_not_hold_up_the_next(
    shared: StackSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    process = subprocess.Popen(
        [sys.executable, "-m", "readmit.ops.backup", "save", str(folder)],
        env=environment(shared),
        cwd=k8s.ROOT,
    )
    services.wait_until(lambda: list(folder.glob("*.part/*")), "no file of the backup", pause=0.01)
    process.kill()
    process.wait()
    assert backup.saved(folder) == []
    saved = backup.save(folder, shared)
    assert backup.saved(folder) == [saved]
    assert list(folder.glob("*.part")) == []


def test_other_folders_beside_backups_stay(shared: StackSettings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    for name in ("of-the-year-Z", "notes.part"):
        (folder / name).mkdir(parents=True)
    one = shared.model_copy(update={"readmit_backup_keep": 1})
    for _ in range(2):
        new = backup.save(folder, one)
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    assert names == {"of-the-year-Z", "notes.part", new.name}


def test_two_restores_at_once_do_not_disturb_each_other(
    shared: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second dropped the databases that the first had verified, and the first switched to what
    the second had loaded so far.
    """
    saved = backup.save(tmp_path / "backups", shared)
    elsewhere = tmp_path / "copies" / saved.name
    shutil.copytree(saved, elsewhere)
    before = state(shared)
    verify = restore.restore_checks.accounting_problems

    def verify_beside_others(restored: StackSettings) -> list[str]:
        with monkeypatch.context() as impatient:
            impatient.setattr(restore, "LOCK_WAIT", "100ms")
            with pytest.raises(backup.BackupFailed, match="another restore or an erasure"):
                backup.restore_from(elsewhere, shared)
            with pytest.raises(erasure.RestoreUnderWay):  # the patient would come back
                erasure.erase("12", "an officer", shared)
        with pytest.raises(backup.BackupFailed, match="or a restore, is under way"):
            backup.save(saved.parent, shared)
        return verify(restored)

    with monkeypatch.context() as patch:
        patch.setattr(restore.restore_checks, "accounting_problems", verify_beside_others)
        backup.restore_from(saved, shared)
    assert state(shared) == before
    with restore.locked(shared) as is_alone:
        assert is_alone  # the first has released the lock


def test_a_damaged_list_of_erasures_stops_a_restore_and_no_backup(
    shared: StackSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    saved = backup.save(folder, shared)
    path = folder / carried_erasures.FILE
    for content in (b"", b'[["too", "short"]]'):
        path.write_bytes(content)
        with pytest.raises(backup.BackupFailed, match=r"erasures\.json is damaged"):
            backup.restore_from(saved, shared)
        backup.save(folder, shared)
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    backup.restore_from(saved, shared)


def test_a_backup_of_0_1_0_is_restored(shared: StackSettings, tmp_path: Path) -> None:
    before = state(shared)
    saved = backup.save(tmp_path / "backups", shared)
    document = json.loads((saved / "manifest.json").read_text())
    for bucket, objects in document["objects"].items():
        (saved / bucket / "objects.json").write_text(json.dumps(objects))
    (saved / "manifest.json").unlink()
    lose_everything(shared)
    backup.restore_from(saved, shared)
    assert state(shared) == before


def test_a_backup_of_a_newer_schema_is_refused(shared: StackSettings, tmp_path: Path) -> None:
    newer = "update landing.alembic_version set version_num = '9999'"
    raw.query(shared, shared.raw_database, newer, role="postgres")
    saved = backup.save(tmp_path / "backups", shared)
    newest = schema_versions.versions("raw")[-1]
    as_before = f"update landing.alembic_version set version_num = '{newest}'"
    raw.query(shared, shared.raw_database, as_before, role="postgres")
    before = state(shared)
    with pytest.raises(backup.BackupFailed, match="schema version 9999"):
        backup.restore_from(saved, shared)
    assert state(shared) == before


@pytest.mark.parametrize("is_lost", [False, True], ids=["in use", "lost"])
def test_patients_erased_after_the_backup_are_erased_again(
    settings: StackSettings, is_lost: bool
) -> None:
    raw.stand_in_tables(settings)
    path = backup.save(settings.backup_folder(), settings)
    first = "select patient_nbr, encounter_id from landing.encounters order by _source_row limit 1"
    [(patient, _)] = raw.query(settings, settings.raw_database, first)
    erasure.erase(patient, "an officer", settings)
    if is_lost:
        lose_everything(settings)
    backup.restore_from(path, settings)
    assert carried_erasures.numbers_of_erased(settings) == [patient]
    record = "select erased_by, finished_at is null from landing.erasures"
    assert raw.query(settings, settings.raw_database, record) == [("an officer", True)]
    removed = erasure.erase_again("a restore", settings)
    assert removed["patients"] == 1
    assert removed["rows of RAW"] >= 1
    assert removed["source files"] == 1
    assert carried_erasures.numbers_of_erased(settings) == []
    assert erasure.erase_again("a restore", settings) == {}
    own = "select count(*) from landing.encounters where patient_nbr = %s"
    assert raw.query(settings, settings.raw_database, own, patient) == [(0,)]


def test_a_restore_releases_the_lock_of_a_build_that_was_under_way(
    settings: StackSettings, tmp_path: Path
) -> None:
    build = Build.of_batch(raw.claim_batch("run", settings) or "batch")
    build.begin(settings)
    path = backup.save(tmp_path / "backups", settings)
    backup.restore_from(path, settings)
    lock = "select count(*) from ops.current_build"
    assert raw.query(settings, settings.clean_database, lock) == [(0,)]
    # A run that goes on all the same publishes nothing: the next run builds the batch anew.
    with pytest.raises(BuildLost):
        build.publish(settings)
