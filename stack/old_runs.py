"""`python -m stack.old_runs`: remove what Airflow keeps of old runs: its tables and local logs.

Its tasks have no access to its database, so the stack's clock does it each night. Old downloads of
source files go too: the object store has the files.
"""

import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from readmit.command import explained
from readmit.ops import airflow_tables
from readmit.settings import ClockSettings

# Folders of the state folder.
CLEANED = ("airflow/logs", "sources")


def delete_files(folder: Path, before: datetime) -> int:
    """Delete the files below a folder that were last written before a time, and empty folders."""
    count = 0
    for path, folders, names in os.walk(folder, topdown=False):
        for name in names:
            file = Path(path, name)
            if not file.is_symlink() and file.stat().st_mtime < before.timestamp():
                file.unlink()
                count += 1
        for name in folders:
            with suppress(OSError):  # it is not empty, or a link
                Path(path, name).rmdir()
    return count


@explained
def main() -> int:
    """Clean both."""
    settings = ClockSettings()
    before = airflow_tables.oldest_kept(settings)
    airflow_tables.clean(before)
    n_files = sum(delete_files(settings.readmit_home / name, before) for name in CLEANED)
    print(f"runs before {before:%Y-%m-%d} are removed, and {n_files} files of logs and downloads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
