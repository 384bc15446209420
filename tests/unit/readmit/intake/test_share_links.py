"""The links that people copy lead to the file."""

from pathlib import Path

import pytest

from readmit.intake import source_file
from readmit.intake.download import FileVersion
from readmit.intake.share_links import file_address
from tests.support.links import COURSE, DRIVE, SHARE_LINKS


@pytest.mark.parametrize(("link", "address"), [link[1:] for link in SHARE_LINKS])
def test_share_link_is_turned_into_the_file(link: str, address: str) -> None:
    assert file_address(link) == address
    assert file_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        COURSE,
        DRIVE,
        "https://drive.google.com/drive/folders/1k5-1aB_",
        "https://drive.google.com/file/d/",
        "https://example.org/file/d/ID/view",
        "https://evil.example/github.com/blob/x",
        "http://127.0.0.1:8000/d.csv?dl=0",
        "http://[::1",
        "http://",
    ],
)
def test_other_addresses_stay(address: str) -> None:
    assert file_address(address) == address


def test_fetch_downloads_the_file_and_keeps_the_link_as_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = []

    def download(url: str, target: Path, last_version: FileVersion) -> FileVersion:
        downloaded.append(url)
        target.write_bytes(b"x")
        return last_version

    monkeypatch.setattr(source_file, "download", download)
    link = "https://drive.google.com/file/d/1k5-1aB_/view?usp=sharing"
    assert source_file.fetch(link, tmp_path).name == link
    assert downloaded == [DRIVE]
