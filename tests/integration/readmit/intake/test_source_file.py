"""Fetching: paths, zips in both layouts, addresses, Google Drive's confirm page, and the fall-back
to the sample.
"""

import os
import zipfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from readmit.errors import NoRoom, SourceRefused, SourceUnreachable
from readmit.intake import download, sample, source_file
from readmit.settings import StackSettings
from tests.support.file_server import Server, serving

MAPPING = "admission_type_id,description\r\n1,Emergency\r\n"


@pytest.fixture(scope="module")
def csv_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "encounters.csv"
    sample.write_csv(path, n_rows=300)
    return path


@pytest.fixture(scope="module")
def zip_file(csv_file: Path) -> Path:
    return zipped(
        csv_file.with_name("uci.zip"),
        {"diabetic_data.csv": csv_file.read_bytes(), "IDS_mapping.csv": MAPPING},
    )


def zipped(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def settings_of(home: Path, dataset: Path | str | None = None, **values: Any) -> StackSettings:
    address = None
    if dataset is not None:
        address = str(dataset)
    return StackSettings(dataset=address, readmit_home=home, **values)


def resolve(settings: StackSettings) -> source_file.LocalSource:
    cache = settings.readmit_home / "sources"
    fetched = source_file.fetch(settings.dataset, cache)
    return source_file.unpack(fetched, cache, settings.dataset_sha256)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as address:
        yield address


@pytest.mark.parametrize(
    "names",
    [
        ("diabetic_data.csv", "IDS_mapping.csv"),
        ("dataset_diabetes/diabetic_data.csv", "dataset_diabetes/IDs_mapping.csv"),
        ("my_own.csv", "IDS_mapping.csv"),
        ("what_pandas_calls_it", "IDS_mapping.csv"),
    ],
)
def test_zip_in_every_layout_gives_the_csv(
    names: tuple[str, str], csv_file: Path, tmp_path: Path
) -> None:
    archive = zipped(tmp_path / "a.zip", {names[0]: csv_file.read_bytes(), names[1]: MAPPING})
    for _ in range(2):
        source = resolve(settings_of(tmp_path, archive))
        assert source.path.read_bytes() == csv_file.read_bytes()
        assert (source.sha256, source.data_source) == (source_file.sha256_of(csv_file), "file")


def test_csv_is_read_in_place(csv_file: Path, tmp_path: Path) -> None:
    assert resolve(settings_of(tmp_path, csv_file)).path == csv_file


def bad_zip(kind: str, good: Path, target: Path) -> Path:
    data = good.read_bytes()
    entry = data.index(b"PK\1\2")
    contents: dict[str, bytes] = {
        "truncated": data[: len(data) // 2],
        "damaged": data[:200] + bytes(50) + data[250:],
        "gzip": b"\x1f\x8b" + data,
        "bzip2 damaged": damaged(good, target, zipfile.ZIP_BZIP2),
        "LZMA damaged": damaged(good, target, zipfile.ZIP_LZMA),
        # Central directory: byte 9 of an entry says that its name is UTF-8; the file's end says
        # where it begins.
        "a name that is no text": data[: entry + 9]
        + b"\x08"
        + data[entry + 10 :].replace(b"diabetic", b"\xff" * 8),
        "a place before the file": data[:-6] + (entry + 10).to_bytes(4, "little") + data[-2:],
    }
    if kind in contents:
        target.write_bytes(contents[kind])
        return target
    members: dict[str, dict[str, bytes | str]] = {
        "no CSV": {"readme.txt": "hello"},
        "mapping only": {"IDS_mapping.csv": MAPPING},
        "two CSVs": {"a.csv": "a", "b.csv": "b"},
        "zips without a CSV": {"inner.zip": without_csv()},
        "two zips in it": {"a.zip": data, "b.zip": data},
        "a spreadsheet": {"[Content_Types].xml": "", "xl/workbook.xml": ""},
        "names for a terminal": {"a\x1b[31m\n.txt": ""},
        "empty": {},
    }
    return zipped(target, members[kind])


def without_csv() -> bytes:
    """Return a zip that holds no CSV."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return packed.getvalue()


def damaged(good: Path, target: Path, compression: int) -> bytes:
    """Return a zip of the same CSV with another compression and damaged bytes."""
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(target, "w", compression) as other:
        other.writestr("diabetic_data.csv", archive.read("diabetic_data.csv"))
    data = target.read_bytes()
    return data[:100] + bytes(300) + data[400:]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "damaged or cut off"),
        ("damaged", "damaged or cut off"),
        ("gzip", "the gzip is damaged or cut off"),
        ("no CSV", "holds no CSV of encounters .it holds: readme.txt"),
        ("mapping only", "holds no CSV"),
        ("two CSVs", "more than one CSV"),
        ("bzip2 damaged", "damaged or cut off"),
        ("LZMA damaged", "damaged or cut off"),
        ("a name that is no text", "damaged or cut off"),
        ("a place before the file", "damaged or cut off"),
        ("zips without a CSV", "holds no CSV of encounters .it holds: readme.txt"),
        ("two zips in it", "more than one CSV of encounters .it holds: a.zip, b.zip"),
        ("a spreadsheet", "is an Excel workbook .xlsx., not a CSV"),
        ("names for a terminal", r"it holds: a\?\[31m\?.txt\)"),
        ("empty", "it holds: nothing"),
    ],
)
def test_bad_zip_is_refused_and_leaves_nothing(
    kind: str, message: str, zip_file: Path, tmp_path: Path
) -> None:
    bad = bad_zip(kind, zip_file, tmp_path / "bad.zip")
    with pytest.raises(SourceRefused, match=f"^bad.zip: .*{message}"):
        resolve(settings_of(tmp_path / "home", bad))
    assert not list((tmp_path / "home").rglob("*.csv"))
    for path in (tmp_path / "home").rglob("tmp*"):
        assert not path.is_file(), path


def test_missing_path_and_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="does not exist; set DATASET"):
        resolve(settings_of(tmp_path, tmp_path / "nowhere.csv"))
    with pytest.raises(SourceRefused, match="is a folder, not a file"):
        resolve(settings_of(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("pipe", "is a pipe or a device, not a file; set DATASET"),
        ("/dev/zero", "is a pipe or a device"),
        ("loop", "cannot be read by this user .Too many levels"),
        ("x" * 300, "cannot be read by this user .File name too long"),
        ("~nobody-of-this-name/x.csv", "does not exist"),
        (
            "file:///x.csv",
            "begin with http:// or https://; of a file on this machine give the path",
        ),
        ("s3://bucket/x.csv", "begin with http:// or https://"),
        ("http://", "check the address in DATASET"),
    ],
)
def test_address_without_a_source_file_is_refused_at_once(
    dataset: str, message: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    address: Path | str = dataset
    if "/" not in dataset:
        address = tmp_path / dataset
    with pytest.raises(SourceRefused, match=message):
        resolve(settings_of(tmp_path, address))
    assert source_file.unchanged_mark(str(address), None, tmp_path) is None


def test_file_that_this_user_may_not_read_is_refused(csv_file: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "a.csv").write_bytes(csv_file.read_bytes())
    locked.chmod(0)
    me = os.geteuid()
    try:
        os.seteuid(me or 65_534)  # root may read everything
        with pytest.raises(
            SourceRefused, match=r"a\.csv cannot be read by this user .Permission denied"
        ):
            source_file.check(str(locked / "a.csv"))
    finally:
        os.seteuid(me)
        locked.chmod(0o700)


def test_name_that_is_not_utf8_is_shown_with_question_marks(csv_file: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"donn\xe9es\n.csv")
    path.write_bytes(csv_file.read_bytes())
    assert resolve(settings_of(tmp_path, path)).name == "donn?es?.csv"


def test_file_that_does_not_fit_on_the_disk_is_refused_before_the_disk_is_full(
    server: str, zip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server.answers["/uci.zip"] = [(200, "application/zip", zip_file.read_bytes())]
    monkeypatch.setenv("READMIT_MIN_FREE_MB", str(1 << 50))
    for dataset in (str(zip_file), f"{server}/uci.zip"):
        with pytest.raises(NoRoom, match=r"MB are free at .* set READMIT_HOME to another disk"):
            resolve(settings_of(tmp_path, dataset))
    for path in tmp_path.rglob("*"):
        assert not path.is_file(), path


def test_sha256_of_the_zip_or_of_its_csv_is_accepted(
    csv_file: Path, zip_file: Path, tmp_path: Path
) -> None:
    for expected in (source_file.sha256_of(zip_file), source_file.sha256_of(csv_file).upper()):
        assert resolve(settings_of(tmp_path, zip_file, dataset_sha256=expected)).path.is_file()
    with pytest.raises(SourceRefused, match="fetch it again or correct DATASET_SHA256"):
        resolve(settings_of(tmp_path, zip_file, dataset_sha256="0" * 64))


def test_address_is_downloaded(server: str, zip_file: Path, csv_file: Path, tmp_path: Path) -> None:
    Server.answers["/uci.zip"] = [(200, "application/zip", zip_file.read_bytes())]
    source = resolve(settings_of(tmp_path, f"{server}/uci.zip"))
    assert (source.data_source, source.sha256) == ("url", source_file.sha256_of(csv_file))


def test_faults_of_the_network_are_retried(server: str, csv_file: Path, tmp_path: Path) -> None:
    whole = (200, "text/csv", csv_file.read_bytes())
    Server.answers["/a.csv"] = [
        (503, "text/plain", b"busy"),
        (200, "cut/off", csv_file.read_bytes()),
        whole,
    ]
    download.download(f"{server}/a.csv", tmp_path / "a.csv", pause=0)
    assert (tmp_path / "a.csv").read_bytes() == csv_file.read_bytes()
    assert len(Server.requests) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_final_answers_are_not_retried(server: str, tmp_path: Path) -> None:
    Server.answers["/gone"] = [(404, "text/plain", b"")]
    with pytest.raises(SourceRefused, match="the server answers 404; check the address in DATASET"):
        download.download(f"{server}/gone", tmp_path / "a", pause=0)
    assert len(Server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "the server answers 204, which comes without a file; download it by hand"),
        ("a part", "the server answers 206, a part of the file; download it by hand"),
        ("accepted", "the server answers 202: the file is not ready yet; try again later"),
        ("cut/off", "the connection ended before the file did"),
        ("redirect/loop", "Exceeded maximum allowed redirects; check the address"),
        ("redirect/file", "unsupported protocol 'file://'; check the address"),
        ("not/gzip", "no complete answer after 2 attempts .*incorrect header check"),
        ("slow/drip", r"no complete answer after 2 attempts \(\d+ bytes in \d+ seconds\)"),
        (
            "busy",
            r"no complete answer after 2 attempts \(the server answers 429\); try again later",
        ),
        ("Text/HTML; charset=x", "web page, not a file"),
    ],
)
def test_answers_without_a_file_end_in_one_line(
    kind: str, message: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PATIENCE_SECONDS", 0.5)
    status = {"busy": 429, "empty": 204, "a part": 206, "accepted": 202}.get(kind, 200)
    Server.answers["/a.csv"] = [(status, kind, b"x" * 1_000)]
    with pytest.raises((SourceRefused, SourceUnreachable), match=message) as error:
        download.download(
            f"{server}/a.csv".replace("//", "//me:secret@"), tmp_path / "a", attempts=2, pause=0
        )
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_silence_is_reported_after_the_last_attempt(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="no complete answer after 2 attempts"):
        download.download("http://127.0.0.1:9/a.csv", tmp_path / "a", attempts=2, pause=0)
    assert list(tmp_path.iterdir()) == []


DRIVE_PAGE = b"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="/download" method="get"><input type="submit" id="uc-download-link" value="Download"/>
<input type="hidden" name="id" value="1k5-1"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0a-b"></form>
<form id="other"><input type="hidden" name="not_this" value="x"></form></body></html>"""


def test_confirm_page_of_google_drive_is_answered(
    server: str, zip_file: Path, csv_file: Path, tmp_path: Path
) -> None:
    Server.answers["/uc"] = [(200, "text/html; charset=utf-8", DRIVE_PAGE)]
    Server.answers["/download"] = [(200, "application/octet-stream", zip_file.read_bytes())]
    source = resolve(settings_of(tmp_path, f"{server}/uc?export=download&id=1k5-1"))
    assert source.sha256 == source_file.sha256_of(csv_file)
    assert Server.requests[-1] == "/download?id=1k5-1&export=download&confirm=t&uuid=0a-b"


def test_address_of_the_course_works_unchanged(
    server: str, zip_file: Path, csv_file: Path, tmp_path: Path
) -> None:
    Server.answers["/uc"] = [(200, "application/octet-stream", zip_file.read_bytes())]
    source = resolve(
        settings_of(tmp_path, f"{server}/uc?export=download&confirm={{{{VALUE}}}}&id=1k5-1")
    )
    assert source.sha256 == source_file.sha256_of(csv_file)


def test_quota_page_of_google_drive_is_recognised(server: str, tmp_path: Path) -> None:
    Server.answers["/uc"] = [
        (
            200,
            "text/html",
            b"<html><head><title>Google Drive - Quota exceeded</title></head><body><p>"
            b"Too many users have viewed or downloaded this file recently.</p></body></html>",
        )
    ]
    with pytest.raises(SourceRefused, match="downloaded too often today; try again tomorrow"):
        download.download(f"{server}/uc", tmp_path / "a", pause=0)
    assert len(Server.requests) == 1


@pytest.mark.parametrize(
    "page", [b"<html>sign in</html>", DRIVE_PAGE.replace(b"/download", b"/uc")]
)
def test_web_page_instead_of_a_file_is_refused(page: bytes, server: str, tmp_path: Path) -> None:
    Server.answers["/uc"] = [(200, "text/html", page)]
    with pytest.raises(SourceRefused, match=r"web page, not a file|again and again"):
        download.download(f"{server}/uc", tmp_path / "a", pause=0)


def test_default_is_uci_whose_archive_is_kept(
    server: str, zip_file: Path, csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server.answers["/uci.zip"] = [(200, "application/zip", zip_file.read_bytes())]
    monkeypatch.setattr(source_file, "UCI_URL", f"{server}/uci.zip")
    monkeypatch.setattr(source_file, "UCI_CSV_SHA256", source_file.sha256_of(csv_file))
    for _ in range(2):
        assert resolve(settings_of(tmp_path)).data_source == "uci"
    assert len(Server.requests) == 1


@pytest.mark.parametrize("fault", ["unreachable", "other bytes", "not a zip"])
def test_sample_is_used_with_a_warning_when_uci_fails(
    fault: str,
    server: str,
    zip_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = 200
    body = zip_file.read_bytes()
    if fault == "unreachable":
        status = 500
    if fault == "not a zip":
        body = b"no zip"
    Server.answers["/uci.zip"] = [(status, "x/y", body)]
    monkeypatch.setattr(source_file, "UCI_URL", f"{server}/uci.zip")
    monkeypatch.setattr(source_file, "download", partial(download.download, pause=0))
    monkeypatch.setattr(sample, "REAL_ROWS", 200)
    source = resolve(settings_of(tmp_path))
    assert (source.data_source, source.name) == ("sample", "embedded sample")
    assert "NOT THE REAL DATA" in caplog.text
