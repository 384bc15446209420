"""The state folder: a marker says what is ours, and only that is closed, changed or deleted."""

import json
import os
import re
import stat

import pytest

from readmit.settings import ROOT
from stack import configuration, state_folder

OUR_CODE = ("stack", "readmit", "serving", "training")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """Set a umask for a test, and restore the former one."""
    former = os.umask(0o022)
    yield os.umask
    os.umask(former)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_new_home_is_private_but_can_be_passed_through(tmp_path, umask, mask):
    umask(mask)
    home = tmp_path / "new" / "home"
    state_folder.claim(home)
    assert mode(home) == mode(home.parent) == 0o711
    for name in state_folder.FOLDERS:
        assert mode(home / name) == 0o700


def test_state_of_an_earlier_release_is_closed(tmp_path):
    home = tmp_path / "old"
    (home / "log").mkdir(parents=True)
    home.chmod(0o755)
    (home / "up.json").write_text("{}")
    (home / "supervisord.conf").write_text(f"[supervisord]\nlogfile={home}/log/supervisord.log\n")
    state_folder.claim(home)
    assert mode(home) == 0o711
    assert mode(home / "log") == 0o700
    assert mode(home / "up.json") == 0o600
    state_folder.remove(home)
    assert not home.exists()


def test_a_folder_of_others_keeps_its_mode_and_its_files(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "backups").mkdir()
    (tmp_path / "photos" / "a").write_text("mine")
    tmp_path.chmod(0o750)
    state_folder.claim(tmp_path)
    (tmp_path / "postgres").mkdir()
    assert mode(tmp_path) == 0o750
    assert mode(tmp_path / "photos") & 0o077 != 0
    state_folder.remove(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "photos"]
    assert (tmp_path / "photos" / "a").read_text() == "mine"


@pytest.mark.parametrize("name", ["postgres", "log", "s3", "dataset"])
def test_a_foreign_file_with_a_name_of_ours_stops_the_start(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(state_folder.NotOurs, match=f"{name} exists, and this stack did not create"):
        state_folder.claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert state_folder.owned_entries(tmp_path) == []


def test_a_second_start_claims_again(tmp_path):
    home = tmp_path / "home"
    state_folder.claim(home)
    state_folder.claim(home)
    assert state_folder.read_marker(home).is_created


def test_a_changed_marker_names_nothing_outside(tmp_path):
    home = tmp_path / "home"
    state_folder.claim(home)
    (tmp_path / "other").mkdir()
    (home / "backups").mkdir()
    entries = ["../other", "/etc", "backups", ".", "", "log"]
    (home / state_folder.MARKER).write_text(json.dumps({"entries": entries, "is_created": True}))
    assert state_folder.owned_entries(home) == [home / "log"]


def test_of_a_link_only_the_link_is_deleted(tmp_path):
    home = tmp_path / "home"
    state_folder.claim(home)
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "a").touch()
    (home / "models").rmdir()
    (home / "models").symlink_to(disk)
    state_folder.remove(home)
    assert not home.exists()
    assert (disk / "a").exists()


def test_a_folder_in_which_everybody_may_write_is_refused(tmp_path):
    """Another user could put links into the place of our files and folders."""
    home = tmp_path / "home"
    state_folder.claim(home)
    home.chmod(0o777)
    before = sorted(path.name for path in home.iterdir())
    assert "other users may change" in state_folder.foreign_entry(home)
    with pytest.raises(state_folder.NotOurs, match="chmod o-w"):
        state_folder.claim(home)
    assert sorted(path.name for path in home.iterdir()) == before
    (tmp_path / "link").symlink_to(home)
    assert state_folder.foreign_entry(tmp_path / "link")
    home.chmod(0o711)
    assert state_folder.foreign_entry(tmp_path / "link") == ""


def test_a_marker_that_everybody_may_write_says_nothing(tmp_path):
    tmp_path.chmod(0o1777)  # as /tmp
    (tmp_path / "postgres").mkdir()
    marker = tmp_path / state_folder.MARKER
    marker.write_text(json.dumps({"entries": ["postgres"], "is_created": True}))
    marker.chmod(0o666)
    assert state_folder.owned_entries(tmp_path) == []
    with pytest.raises(state_folder.NotOurs, match="postgres exists"):
        state_folder.claim(tmp_path)
    marker.chmod(0o600)
    assert state_folder.owned_entries(tmp_path) == [tmp_path / "postgres"]


@pytest.mark.root
def test_a_folder_that_another_user_was_first_to_make_is_refused(tmp_path):
    tmp_path.chmod(0o1777)
    home = tmp_path / "home"
    state_folder.claim(home)
    os.chown(home, 65534, 65534)
    assert "other users may change" in state_folder.foreign_entry(home)
    tmp_path.chmod(0o755)  # root runs the stack in the folder of another user
    assert state_folder.foreign_entry(home) == ""


def test_a_link_in_the_place_of_the_new_marker_is_not_followed(tmp_path):
    home = tmp_path / "home"
    state_folder.claim(home)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (home / f"{state_folder.MARKER}.part").symlink_to(precious)
    state_folder.claim(home)
    assert precious.read_text() == "mine"


def test_secrets_do_not_go_into_a_file_that_was_there(tmp_path):
    """It would keep its mode, or lead elsewhere."""
    (tmp_path / ".env.part").touch(0o644)
    configuration.write_private(tmp_path / ".env", "SECRET=1\n")
    assert mode(tmp_path / ".env") == 0o600
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / ".env.part").symlink_to(elsewhere)
    configuration.write_private(tmp_path / ".env", "SECRET=2\n")
    assert not elsewhere.exists()
    assert (tmp_path / ".env").read_text() == "SECRET=2\n"


def test_every_entry_that_our_code_writes_is_listed():
    """Otherwise others could read it, and `make clean` would leave it."""
    pattern = re.compile(r'(?:readmit_home|_home|\bhome|self\.folder) / (?:f?"([^"{]+)"|([A-Z_]+))')
    names = set()
    for folder in OUR_CODE:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name in ("state_folder.py", "temporary_services.py"):
                continue
            for text, constant in pattern.findall(path.read_text(encoding="utf-8")):
                names.add(text or {"TIMES": "up.json"}.get(constant, constant))
    # Below `airflow/` and `grafana/`, whose variable is `home` too.
    names -= {"passwords.json", "cosmos", "logs"}
    assert {"log", "postgres", "s3", "sources", "supervisord.conf", "models"} <= names
    assert names <= set(state_folder.ENTRIES)


def test_the_page_of_retention_names_every_entry():
    """What grows has a row there, and what does not is listed: so a new entry needs a word."""
    page = (state_folder.ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    missing = [name for name in state_folder.ENTRIES if f"`{name}" not in page]
    assert missing == []
