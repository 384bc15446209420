"""A folder of backups in which others may write: nothing is read by them, or led elsewhere."""

import io
from pathlib import Path

import pytest

from readmit.ops import backup, backup_folder
from readmit.ops.sealed_files import Sealer
from readmit.settings import StackSettings

KEY = Sealer(bytes(32))


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that an attacker wants to be overwritten."""
    path = tmp_path / "precious"
    path.write_text("mine")
    return path


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_plain_backups_do_not_lie_where_every_user_may_write(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(backup_folder.BackupFailed, match=r"chmod o-w .*READMIT_BACKUP_KEY"):
        backup.save(folder, StackSettings(readmit_home=tmp_path))
    assert [path.name for path in folder.iterdir()] == [".lock"]
    backup_folder.check_writers(folder, KEY)
    folder.chmod(0o775)  # the folder of a group, as Kubernetes makes it
    backup_folder.check_writers(folder, Sealer())


def test_a_plain_backup_that_every_user_may_have_written_is_not_restored(tmp_path: Path) -> None:
    """Its SQL would run as the superuser, also when new backups are encrypted."""
    forged = tmp_path / "backups" / "20990101T000000Z"
    forged.mkdir(parents=True)
    settings = StackSettings(readmit_home=tmp_path, readmit_backup_key="A" * 43 + "=")
    for folder in (forged, forged.parent):
        folder.chmod(0o777)
        with pytest.raises(backup_folder.BackupFailed, match="every user"):
            backup.restore_from(forged, settings)
        folder.chmod(0o755)


def test_the_lock_is_no_link(tmp_path: Path, precious: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"), backup_folder.locked(folder):
        pass
    assert precious.read_text() == "mine"


def test_what_is_written_is_new(tmp_path: Path, precious: Path) -> None:
    trap = tmp_path / "clean.dump"
    trap.symlink_to(precious)
    with pytest.raises(FileExistsError):
        KEY.write(io.BytesIO(b"dump"), trap, "clean.dump")
    assert precious.read_text() == "mine"
