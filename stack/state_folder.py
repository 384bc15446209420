"""The state folder (READMIT_HOME): a marker file in it lists what belongs to the stack.

READMIT_HOME may name a folder that holds other files, such as a whole disk. Only the entries that
the marker lists are closed to other users by `make up` and deleted by `make clean`. Backups are
never listed.
"""

import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from readmit.settings import ROOT

MARKER = ".readmit"
# Made at the first start, so that no program creates one that others may enter.
FOLDERS = (
    "airflow",
    "alertmanager",
    "clock",
    "grafana",
    "jupyter",
    "log",
    "login-proxy",
    "models",
    "notebooks",
    "programs",
    "prometheus",
    "quality",
    "s3",
    "search",
    "sessions",
    "sources",
    "tmp",
    "web-logins",
)
# Those of programs that root runs as another user; they close their folders themselves.
ORDINARY_USERS_ENTRIES = (
    ".initialising",
    "login-proxy",
    "postgres",
    "postgres-before",
    "postgres-next",
    "postgres.log",
    "sockets",
)
FILES = (
    "alertmanager.yml",
    "api.sock",
    "dataset",
    "fingerprint-key",
    "grafana-password-before",
    "monitoring",
    "notebook",
    "postgres-password-before",
    "prometheus.yml",
    "pushgateway.db",
    "release",
    "s3-certificate.pem",
    "s3-identities.json",
    "s3-key.pem",
    "s3.log",
    "supervisor.sock",
    "supervisord.conf",
    "supervisord.pid",
    "up.json",
)
ENTRIES = (*FOLDERS, *ORDINARY_USERS_ENTRIES, *FILES)
DEFAULT_HOME = ROOT / ".stack"
# Others may pass through, because Postgres runs as another user when root starts it, but may not
# list the folder.
ENTER_ONLY = 0o711
# Unix allows 107 bytes for the path of a socket, and supervisord adds its number to the name.
LONGEST_HOME_OF_SOCKETS = 80


class NotOurs(Exception):
    """The state folder has files of others where the stack would write; the message names one."""


@dataclass(frozen=True)
class Marker:
    """What belongs to the stack: the listed entries, and the folder itself if `is_created`."""

    entries: tuple[str, ...] = ()
    is_created: bool = False


def read_marker(home: Path) -> Marker:
    """Return the marker of a state folder; it is empty when the folder has none.

    A folder that an earlier release made has no marker yet, and everything of ours in it is ours.
    """
    try:
        if _is_trusted(home / MARKER):
            document = json.loads((home / MARKER).read_text(encoding="utf-8"))
            return Marker(tuple(document["entries"]), bool(document["is_created"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, LookupError):
        pass  # none, or one that was damaged when the disk was full
    if home == DEFAULT_HOME or _has_our_supervisor(home):
        return Marker(ENTRIES, is_created=True)
    return Marker()


def foreign_entry(home: Path) -> str:
    """Return a problem when somebody else has, or may put, a file where the stack needs a name."""
    if home.exists() and not home.is_dir():
        return f"READMIT_HOME: {home} is not a folder"
    if home.exists() and not _is_trusted(home):
        return (
            f"other users may change what lies in {home}: set READMIT_HOME to a folder of yours,"
            f" or chmod o-w {home}"
        )
    marker = read_marker(home)
    for name in ENTRIES:
        path = home / name
        if name not in marker.entries and (path.exists() or path.is_symlink()):
            return (
                f"{path} exists, and this stack did not create it:"
                f" set READMIT_HOME to a new folder, such as {home / 'readmit'}"
            )
    return ""


def claim(home: Path) -> None:
    """Create the state folder, mark what is ours in it, and close that to other users.

    Raises:
        NotOurs: a file of somebody else has a name that the stack needs.
    """
    if problem := foreign_entry(home):
        raise NotOurs(problem)
    is_created = make_enterable(home) or read_marker(home).is_created
    if is_created:
        home.chmod(ENTER_ONLY)
    part = home / f"{MARKER}.part"
    part.unlink(missing_ok=True)
    with part.open("x", encoding="utf-8") as file:
        json.dump(asdict(Marker(ENTRIES, is_created)), file, indent=1)
    part.replace(home / MARKER)
    for name in FOLDERS:
        (home / name).mkdir(exist_ok=True)
    for name in (*FOLDERS, *FILES):
        path = home / name
        if path.is_symlink() or not path.exists():
            continue
        if path.is_dir():
            path.chmod(0o700)
        else:
            path.chmod(0o600)


def socket_folder(home: Path) -> Path:
    """Return the folder of the stack's sockets: the state folder, or one with a shorter name.

    The name can be guessed, and a program that listens there first would get the supervisor's
    commands. So create the folder by `stack.postgres.make_private`, which keeps others out.
    """
    if len(os.fsencode(home)) <= LONGEST_HOME_OF_SOCKETS:
        return home
    digest = sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"readmit-{digest}-{os.geteuid()}"


def make_enterable(folder: Path) -> bool:
    """Create a folder and its parents so that others may pass through, whatever the umask.

    Returns:
        Whether the folder was created.
    """
    missing = []
    path = folder
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for path in reversed(missing):
        path.mkdir()
        path.chmod(ENTER_ONLY)
    return bool(missing)


def owned_entries(home: Path) -> list[Path]:
    """Return the entries of a state folder that exist and belong to the stack."""
    paths = []
    for name in read_marker(home).entries:
        path = home / name
        if name in ENTRIES and (path.exists() or path.is_symlink()):
            paths.append(path)
    return paths


def remove(home: Path) -> None:
    """Delete what belongs to the stack; the folder itself only if it was created and is empty."""
    is_created = read_marker(home).is_created
    for path in owned_entries(home):
        delete(path)
    (home / MARKER).unlink(missing_ok=True)
    if is_created:
        with suppress(OSError):  # it holds other files
            home.rmdir()


def delete(path: Path) -> None:
    """Delete a file or a folder; of a link only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_trusted(path: Path) -> bool:
    """Tell whether only this user and root may change a file, or the names in a folder.

    In a folder with the sticky bit, as /tmp, others may not change our names, but may be first.
    Elsewhere root may run the stack in the folder of another user, whose code it runs too.

    Raises:
        FileNotFoundError: there is no such file.
    """
    status = path.stat() if path.is_dir() else path.lstat()
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return False
    if status.st_uid in (os.geteuid(), 0):
        return True
    return os.geteuid() == 0 and not path.parent.stat().st_mode & stat.S_IWOTH


def _has_our_supervisor(home: Path) -> bool:
    """Return whether the folder has the supervisor's configuration that the stack writes there."""
    log = str(home / "log" / "supervisord.log").replace("%", "%%")
    try:
        return f"logfile={log}\n" in (home / "supervisord.conf").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
