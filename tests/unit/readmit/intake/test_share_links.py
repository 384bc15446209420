"""The links that people copy lead to the file."""

from pathlib import Path

import pytest

from readmit.intake import source_file
from readmit.intake.download import FileVersion
from readmit.intake.share_links import file_address

DRIVE = "https://drive.google.com/uc?export=download&id=1k5-1aB_"
COURSE = "https://docs.google.com/uc?export=download&confirm={{VALUE}}&id=1k5-1aB_"


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("https://drive.google.com/file/d/1k5-1aB_/view?usp=sharing", DRIVE),
        ("https://drive.google.com/file/d/1k5-1aB_/edit", DRIVE),
        ("https://drive.google.com/file/d/1k5-1aB_", DRIVE),
        ("https://drive.google.com/file/u/1/d/1k5-1aB_/view", DRIVE),
        ("https://drive.google.com/open?id=1k5-1aB_&authuser=0", DRIVE),
        (
            "https://drive.google.com/file/d/1k5-1aB_/view?resourcekey=0-x",
            DRIVE + "&resourcekey=0-x",
        ),
        (
            "https://docs.google.com/spreadsheets/d/1k5-1aB_/edit#gid=0",
            "https://docs.google.com/spreadsheets/d/1k5-1aB_/export?format=csv",
        ),
        (
            "https://www.dropbox.com/scl/fi/abc/d.csv?rlkey=xyz&dl=0",
            "https://www.dropbox.com/scl/fi/abc/d.csv?rlkey=xyz&dl=1",
        ),
        (
            "https://www.dropbox.com/s/abc/d.csv",
            "https://www.dropbox.com/s/abc/d.csv?dl=1",
        ),
        (
            "https://github.com/o/r/blob/main/data/diabetic_data.csv",
            "https://github.com/o/r/raw/main/data/diabetic_data.csv",
        ),
        (
            "https://gitlab.com/o/r/-/blob/main/d.csv",
            "https://gitlab.com/o/r/-/raw/main/d.csv",
        ),
        (
            "https://huggingface.co/datasets/o/r/blob/main/d.csv",
            "https://huggingface.co/datasets/o/r/resolve/main/d.csv",
        ),
    ],
)
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
