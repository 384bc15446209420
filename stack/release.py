"""Which release of the code has started this stack last, for the way back from a failed upgrade."""

import subprocess
from pathlib import Path

from readmit.settings import ROOT, BadSetting
from stack.configuration import stack_settings


def commit() -> str:
    """Return the commit of this checkout, or an empty text when it is no checkout of git."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def record(home: Path) -> None:
    """Write down that this commit has started the stack completely."""
    (home / "release").write_text(commit(), encoding="utf-8")


def way_back() -> list[str]:
    """Return what to do when this was an upgrade that failed, as lines of a message."""
    try:
        before = (stack_settings().readmit_home / "release").read_text(encoding="utf-8")
    except (OSError, BadSetting):
        return []
    if not before or before == commit():
        return []
    return [
        f"This was an upgrade from {before}. Back: git checkout {before} && make up."
        " If it then says that a schema is newer: restore a backup first (docs/upgrade.md)."
    ]
