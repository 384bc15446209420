"""The inbox, folder and bucket: nothing is submitted twice, and nothing is lost."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from readmit import storage
from readmit.batches import claims, loading
from readmit.intake import inbox, inbox_files, inbox_results, sample
from readmit.intake.source_counts import source_counts
from readmit.ops import erased_inbox
from readmit.settings import StackSettings
from tests.support import raw

ROWS = 90


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The header and the rows of an export, with their line ends."""
    path = tmp_path_factory.mktemp("export") / "export.csv"
    sample.write_csv(path, n_rows=ROWS)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    folder = tmp_path / "dropped"
    folder.mkdir()
    stack_settings = raw.fresh(tmp_path / "home", inbox=folder)
    raw.stand_in_tables(stack_settings)
    s3 = storage.client("admin", stack_settings)  # the store is that of other tests too
    for file in inbox_files.bucket_files(stack_settings):
        s3.delete_object(Bucket=stack_settings.s3_pipeline_bucket, Key=file.key)
    return stack_settings


def drop(settings: StackSettings, name: str, lines: list[bytes]) -> Path:
    path = settings.inbox / name
    path.write_bytes(b"".join(lines))
    return path


def put(settings: StackSettings, key: str, lines: list[bytes]) -> None:
    storage.client("admin", settings).put_object(
        Bucket=settings.s3_pipeline_bucket, Key=key, Body=b"".join(lines)
    )


def read(settings: StackSettings, key: str) -> bytes:
    answer = storage.client("admin", settings).get_object(
        Bucket=settings.s3_pipeline_bucket, Key=key
    )
    return answer["Body"].read()


def result_of(settings: StackSettings, file_sha256: str) -> dict[str, Any]:
    return json.loads(read(settings, f"received/{file_sha256}/result.json"))


def ledger(settings: StackSettings) -> list[Any]:
    statement = "select name, file_sha256, source_sha256, reason from landing.inbox order by name"
    return raw.query(settings, settings.raw_database, statement)


def n_rows_in_raw(settings: StackSettings) -> int:
    statement = "select count(*), count(distinct encounter_id) from landing.encounters"
    [(n_rows, n_stays)] = raw.query(settings, settings.raw_database, statement)
    assert n_rows == n_stays
    return n_rows


def test_the_same_content_under_three_names_is_one_source_with_three_results(
    export: list[bytes], settings: StackSettings
) -> None:
    path = drop(settings, "export.csv", export)
    drop(settings, "copy of export.csv", export)
    put(settings, "inbox/ward 3/export.csv", export)
    assert inbox.submit_new_files(settings) == []
    rows = ledger(settings)
    assert [row[0] for row in rows] == ["copy of export.csv", "export.csv", "export.csv"]
    [file_sha256] = {row[1] for row in rows}
    assert read(settings, f"received/{file_sha256}/original") == b"".join(export)
    assert len(inbox_results.write_results(settings)) == 3
    assert result_of(settings, file_sha256)["state"] == "waiting"
    assert inbox_results.may_change(settings)
    raw.publish_all(settings)
    assert len(inbox_results.write_results(settings)) == 3
    assert not inbox_results.may_change(settings)
    assert inbox_results.write_results(settings) == []
    result_file = path.with_name("export.csv.result.json")
    result = json.loads(result_file.read_text())
    assert result == result_of(settings, file_sha256) | {"received_at": result["received_at"]}
    assert (result["state"], result["n_rows"], result["reason"]) == ("published", ROWS, None)
    assert {batch["status"] for batch in result["batches"]} == {"published"}
    assert result_file.stat().st_mode & 0o777 == path.stat().st_mode & 0o777
    # The results are no files of the inbox, and what was read is not read again.
    assert inbox.submit_new_files(settings) == []
    assert len(ledger(settings)) == 3
    assert [counts[1:] for counts in source_counts(settings)] == [(ROWS, 0, 0, ROWS)]
    assert n_rows_in_raw(settings) == ROWS


def test_a_file_is_read_when_nobody_writes_it_and_again_when_it_has_grown(
    export: list[bytes], settings: StackSettings
) -> None:
    with (settings.inbox / "nightly.csv").open("wb") as writer:
        writer.writelines(export[:31])
        writer.flush()
        assert inbox.submit_new_files(settings) == []
        assert ledger(settings) == []
    # The writer was interrupted at the end of a line: nobody can tell.
    assert inbox.submit_new_files(settings) == []
    raw.publish_all(settings)
    assert n_rows_in_raw(settings) == 30
    before = os.stat(settings.inbox / "nightly.csv")
    drop(settings, "nightly.csv", export)
    # A program that keeps old times does not hide the change.
    os.utime(settings.inbox / "nightly.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inbox.submit_new_files(settings) == []
    raw.publish_all(settings)
    assert n_rows_in_raw(settings) == ROWS
    counts = sorted(count[1:] for count in source_counts(settings))
    assert counts == [(30, 0, 0, 30), (ROWS, 30, 0, ROWS - 30)]
    drop(settings, "old rows.csv", export[:5])
    inbox.submit_new_files(settings)
    [last] = [row for row in inbox_results.write_results(settings) if row["name"] == "old rows.csv"]
    assert (last["state"], last["n_known"], last["batches"]) == ("known", 4, [])


def test_a_file_that_changes_while_it_is_read_waits(
    export: list[bytes], settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(settings, "export.csv", export[:41])
    copyfileobj = inbox_files.copyfileobj

    def copy_and_append(source: Any, target: Any, size: int) -> None:
        copyfileobj(source, target, size)
        path.write_bytes(b"".join(export))

    monkeypatch.setattr(inbox_files, "copyfileobj", copy_and_append)
    put(settings, "inbox/export.csv", export[:41])
    listed = inbox_files.bucket_files(settings)
    put(settings, "inbox/export.csv", export)
    assert [file.copy_to(settings.readmit_home / "copy") for file in listed] == [False]
    storage.client("admin", settings).delete_object(
        Bucket=settings.s3_pipeline_bucket, Key="inbox/export.csv"
    )
    assert [file.copy_to(settings.readmit_home / "copy") for file in listed] == [False]
    assert inbox.submit_new_files(settings) == []
    assert ledger(settings) == []
    monkeypatch.undo()
    assert inbox.submit_new_files(settings) == []
    assert [counts[1:] for counts in source_counts(settings)] == [(ROWS, 0, 0, ROWS)]


def test_a_refused_file_is_reported_once_and_holds_nothing_up(
    export: list[bytes], settings: StackSettings
) -> None:
    bad = drop(settings, "bad.csv", [b"a,b\n", b"1,2\n"])
    drop(settings, "good.csv", export)
    [reason] = inbox.submit_new_files(settings)
    assert reason.startswith("bad.csv: ")
    assert inbox.submit_new_files(settings) == []
    assert [(row[0], row[3]) for row in ledger(settings)] == [
        ("bad.csv", reason),
        ("good.csv", None),
    ]
    inbox_results.write_results(settings)
    result = json.loads(bad.with_name("bad.csv.result.json").read_text())
    assert (result["state"], result["reason"], result["batches"]) == ("refused", reason, [])
    assert read(settings, f"received/{result['file_sha256']}/original") == b"a,b\n1,2\n"


def test_a_rejected_batch_is_named_with_its_reason(
    export: list[bytes], settings: StackSettings
) -> None:
    drop(settings, "export.csv", export)
    inbox.submit_new_files(settings)
    build = claims.claim_and_begin("run", settings)
    assert build is not None
    loading.load(build.batch_id, settings)
    build.reject("raw gate: nonsense", settings)
    raw.publish_all(settings)
    [result] = inbox_results.write_results(settings)
    assert (result["state"], result["reason"]) == ("rejected", "raw gate: nonsense")
    rejected = [row["batch_id"] for row in result["batches"] if row["status"] == "rejected"]
    assert rejected == [build.batch_id]


def test_two_runs_at_once_and_a_run_that_dies_submit_nothing_twice(
    export: list[bytes], settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(settings, "export.csv", export)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "address_sha256", die)
        with pytest.raises(KeyboardInterrupt):
            inbox.submit_new_files(settings)
    [file] = inbox_files.folder_files(settings.inbox)
    copy = settings.readmit_home / "copy"
    assert file.copy_to(copy)
    with monkeypatch.context() as patch:  # registered, and dead before the ledger knows the file
        patch.setattr(inbox, "address_sha256", die)
        with pytest.raises(KeyboardInterrupt):
            inbox.submit_copy(file, copy, settings)
    assert ledger(settings) == []
    threads = [threading.Thread(target=inbox.submit_new_files, args=(settings,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger(settings)) == 1
    assert [counts[1:] for counts in source_counts(settings)] == [(ROWS, 0, 0, ROWS)]
    raw.publish_all(settings)
    assert n_rows_in_raw(settings) == ROWS
    assert not [*(settings.readmit_home / "sources").glob("inbox-*")]


def test_only_complete_files_of_the_folder_are_read(
    export: list[bytes], settings: StackSettings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"".join(export))
    (settings.inbox / "link.csv").symlink_to(outside)
    os.mkfifo(settings.inbox / "pipe.csv")
    (settings.inbox / "folder.csv").mkdir()
    for name in (".export.csv.x1", "export.csv.part", "export.csv~", "e.CSV.CRDOWNLOAD", "~$e.csv"):
        drop(settings, name, export)
    drop(settings, "empty.csv", [])  # just made: its writer may not have begun
    assert inbox.submit_new_files(settings) == []
    assert ledger(settings) == []
    # A link that stands where the result belongs is replaced, and not followed.
    path = drop(settings, "export.csv", export)
    path.with_name("export.csv.result.json").symlink_to(outside)
    inbox.submit_new_files(settings)
    assert [row[0] for row in ledger(settings)] == ["export.csv"]
    inbox_results.write_results(settings)
    assert outside.read_bytes() == b"".join(export)
    assert json.loads(path.with_name("export.csv.result.json").read_text())["state"] == "waiting"


@pytest.fixture
def at_each_open() -> Iterator[list[Callable[[Path], None]]]:
    """Call what the list holds before a file is opened by its name: the moment of a race."""
    actions: list[Callable[[Path], None]] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if actions and event == "open" and isinstance(arguments[0], str):
            actions[0](Path(arguments[0]))

    sys.addaudithook(watch)  # it stays, and does nothing without actions
    yield actions
    actions.clear()


def test_who_may_write_into_the_folder_cannot_lead_a_result_elsewhere(
    tmp_path: Path, at_each_open: list[Callable[[Path], None]]
) -> None:
    """The first try put a folder of the attacker's into the place of ours, with a link in it."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    file = folder / "export.csv"
    file.write_bytes(b"")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    precious.chmod(0o600)
    traps = []

    def set_trap(path: Path) -> None:
        at_each_open.clear()
        if path.parent == folder:
            path.symlink_to(precious)
        elif path.parent.parent == folder:
            path.parent.rename(folder / "stolen")
            path.parent.mkdir()
            path.symlink_to(precious)
        traps.append(path)

    at_each_open.append(set_trap)
    inbox_results.write_beside(file, "result")
    assert traps
    assert precious.read_text() == "mine"
    assert precious.stat().st_mode & 0o777 == 0o600
    assert file.with_name("export.csv.result.json").read_text() == "result"


def test_what_cannot_be_read_does_not_stop_the_files_behind_it(
    export: list[bytes],
    settings: StackSettings,
    tmp_path: Path,
    at_each_open: list[Callable[[Path], None]],
) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"".join(export))
    path = drop(settings, "a.csv", export)
    drop(settings, "b.csv", export[:31])

    def swap(opened: Path) -> None:
        if opened == path:
            at_each_open.clear()
            path.unlink()
            path.symlink_to(outside)

    at_each_open.append(swap)
    assert inbox.submit_new_files(settings) == []
    assert [row[0] for row in ledger(settings)] == ["b.csv"]


def test_an_erasure_is_not_held_up_by_a_pipe_or_a_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv.result.json")
    (tmp_path / "folder.csv.result.json").mkdir()
    (tmp_path / "target").write_text("135")
    (tmp_path / "link.csv.result.json").symlink_to(tmp_path / "target")
    (tmp_path / "own.csv.result.json").write_text("patient 135")
    # Somebody holds it open and writes nothing.
    descriptor = os.open(tmp_path / "pipe.csv.result.json", os.O_RDWR)
    n_files, remaining = erased_inbox.erase_results_of_folder(["135"], tmp_path)
    os.close(descriptor)
    assert n_files == 1
    # Those that it cannot search are told, and not counted as searched.
    assert sorted(line.split()[0] for line in remaining) == [
        "folder.csv.result.json",
        "link.csv.result.json",
        "pipe.csv.result.json",
    ]
    names = sorted(path.name for path in tmp_path.glob("*.json"))
    assert names == ["folder.csv.result.json", "link.csv.result.json", "pipe.csv.result.json"]


def test_a_file_without_a_lease_is_read_when_it_has_settled(
    export: list[bytes], settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lease(*_: object) -> None:
        raise OSError(22, "this file system has no leases")

    drop(settings, "export.csv", export)
    monkeypatch.setattr(inbox_files.fcntl, "fcntl", no_lease)
    assert inbox.submit_new_files(settings) == []
    assert ledger(settings) == []
    monkeypatch.setattr(inbox_files, "SETTLED_SECONDS", 0.0)
    inbox.submit_new_files(settings)
    assert len(ledger(settings)) == 1


def test_a_name_that_is_no_text_is_shown_with_question_marks(
    export: list[bytes], settings: StackSettings
) -> None:
    for name in (b"a\xff.csv", b"a\xfe.csv"):
        (Path(os.fsdecode(os.fsencode(settings.inbox) + b"/" + name))).write_bytes(b"".join(export))
    assert inbox.submit_new_files(settings) == []
    assert [row[0] for row in ledger(settings)] == ["a?.csv", "a?.csv"]
    assert len(inbox_results.write_results(settings)) == 2


def test_the_loader_does_not_write_into_the_inbox(settings: StackSettings) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        storage.client("loader", settings).put_object(
            Bucket=settings.s3_pipeline_bucket, Key="inbox/x.csv", Body=b""
        )
