"""Folders in /tmp: everybody can guess their names and be first."""

import os
import pwd
from pathlib import Path

import pytest

from stack.postgres import PostgresFailed, make_private

MYSELF = pwd.getpwuid(os.geteuid())


def test_a_new_folder_is_ours_alone(tmp_path: Path) -> None:
    for _ in range(2):
        make_private(tmp_path / "sockets", MYSELF)
    assert (tmp_path / "sockets").stat().st_mode & 0o777 == 0o700


def test_an_open_folder_of_ours_is_closed(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir(mode=0o777)
    make_private(tmp_path / "sockets", MYSELF)
    assert (tmp_path / "sockets").stat().st_mode & 0o777 == 0o700


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "etc"
    target.mkdir(mode=0o755)
    (tmp_path / "sockets").symlink_to(target)
    with pytest.raises(PostgresFailed, match="not ours"):
        make_private(tmp_path / "sockets", MYSELF)
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sockets").touch()
    with pytest.raises(PostgresFailed, match="not ours"):
        make_private(tmp_path / "sockets", MYSELF)
