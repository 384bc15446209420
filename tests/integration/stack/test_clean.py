"""`make clean` asks, and deletes only what the stack created."""

import os
import pty
import subprocess
import sys

import pytest

from readmit.settings import ROOT
from stack import state_folder
from tests.support import stack


@pytest.fixture
def home(tmp_path):
    """A folder of somebody else that holds the state of a stack beside other files."""
    env_file = stack.write_env(tmp_path, READMIT_HOME=tmp_path / "disk")
    folder = tmp_path / "disk"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "a").write_text("mine")
    with stack.environment(env_file):
        state_folder.claim(folder)
        (folder / "backups").mkdir()
        yield folder


def others(home):
    return sorted(path.name for path in home.iterdir())


def test_it_deletes_files_of_the_stack_and_leaves_other_files_and_backups(home):
    process = stack.run("stack.clean", READMIT_YES="1")
    assert process.returncode == 0, process.stderr
    assert others(home) == ["backups", "photos"]
    assert (home / "photos" / "a").read_text() == "mine"


@pytest.mark.parametrize("answer", ["", "0", "no"])
def test_without_a_terminal_it_refuses(home, answer):
    before = others(home)
    process = stack.run("stack.clean", READMIT_YES=answer)
    assert process.returncode == 1
    assert process.stderr.startswith("error: nothing was deleted. This stops the stack and deletes")
    assert "YES=1" in process.stderr
    assert others(home) == before


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 1), ("", 1)])
def test_at_a_terminal_it_asks(home, answer, code):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    process = subprocess.run(
        [sys.executable, "-m", "stack.clean"],
        stdin=theirs,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "READMIT_YES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, process.stderr
    assert (home / state_folder.MARKER).exists() == (code == 1)


def test_a_folder_without_a_marker_stays_as_it_is(tmp_path):
    folder = tmp_path / "disk"
    (folder / "postgres").mkdir(parents=True)
    with stack.environment(stack.write_env(tmp_path, READMIT_HOME=folder)):
        process = stack.run("stack.clean", READMIT_YES="1")
    assert process.returncode == 1
    assert "has no file .readmit" in process.stderr
    assert others(folder) == ["postgres"]


def test_make_up_neither_changes_nor_deletes_what_it_did_not_create(tmp_path):
    folder = tmp_path / "disk"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "notes").touch()
    folder.chmod(0o700)
    with stack.environment(stack.write_env(tmp_path, READMIT_HOME=folder)):
        process = stack.run("stack.up")
    assert process.returncode == 1
    assert f"error: {folder}/postgres exists, and this stack did not create it" in process.stdout
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.rglob("*")] == ["postgres", "notes"]
