"""What programs expect of a machine and do not always get, and what replaces it."""

import os
import pwd
import shutil
from pathlib import Path

# Debian keeps some programs, such as nginx, where an ordinary user's PATH does not lead.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"

# Programs that look up the name of the user take this one when the user id has none.
NAMELESS_USER = "readmit"


def environment(home: Path) -> dict[str, str]:
    """Return variables that replace what this machine lacks.

    Args:
        home: the state folder; it has a folder `tmp`.
    """
    variables = {}
    if not is_usable(temporary_folder()):
        variables["TMPDIR"] = str(home / "tmp")
    if not user_name():
        variables |= {"USER": NAMELESS_USER, "LOGNAME": NAMELESS_USER}
    if not is_writable(Path(os.environ.get("HOME") or "/nonexistent")):
        variables["HOME"] = str(home / "tmp")
    return variables


def temporary_folder() -> Path:
    """Return the folder for temporary files, as TMPDIR says."""
    return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108


def is_writable(folder: Path) -> bool:
    """Return whether this user can create files in a folder."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def is_usable(folder: Path) -> bool:
    """Return whether this user can create files in a folder, and run them."""
    return is_writable(folder) and not os.statvfs(folder).f_flag & os.ST_NOEXEC


def user_name() -> str:
    """Return the name of this process' user; empty when the user id has none."""
    return current_user().pw_name


def current_user() -> pwd.struct_passwd:
    """Return this process' user; the user id may have no name."""
    try:
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        return pwd.struct_passwd(("", "", os.geteuid(), os.getegid(), "", "", ""))


def find_program(name: str) -> str | None:
    """Return the path of a program, or None when it is not installed."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)
