"""How much of a disk intake leaves free: it stops before Postgres or the object store runs full.

The floor is READMIT_MIN_FREE_MB. What serves predictions is not stopped by it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from readmit.errors import NoRoom
from readmit.settings import SourceSettings


@dataclass(frozen=True)
class Disk:
    """The disk below a folder, and how much of it stays free."""

    folder: Path
    floor_bytes: int

    @classmethod
    def below(cls, folder: Path) -> "Disk":
        """Return the disk below a folder that exists, with the floor of the settings."""
        return cls(folder, SourceSettings().min_free_mb * 1_000_000)

    def ensure_room(self, name: str, n_bytes: int = 0) -> None:
        """Stop before the disk is full.

        Args:
            name: what the error message calls what is stopped.
            n_bytes: how much will be written; 0 if that is not known.

        Raises:
            NoRoom: fewer bytes are free than `n_bytes` and the floor.
        """
        disk = shutil.disk_usage(self.folder)
        if disk.total == 0:  # `/proc` and its like: writing there says what is wrong
            return
        if disk.free >= n_bytes + self.floor_bytes:
            return
        needed = f"{self.floor_bytes / 1e6:,.0f} MB stay free"
        if n_bytes:
            needed = f"{n_bytes / 1e6:,.0f} MB are needed and {needed}"
        raise NoRoom(
            f"{name}: {disk.free / 1e6:,.0f} MB are free at {self.folder}, and {needed}"
            " (READMIT_MIN_FREE_MB): free some, or set READMIT_HOME to another disk"
        )


def stop_ingestion_without_room(home: Path) -> None:
    """Stop before anything is fetched, planned or claimed, when the state's disk is almost full.

    Args:
        home: READMIT_HOME; it may not exist yet.

    Raises:
        NoRoom: less than the floor is free.
    """
    folder = home
    while not folder.exists():
        folder = folder.parent
    Disk.below(folder).ensure_room("ingestion stops")
