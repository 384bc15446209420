"""`make logs NAME=api`: follow the log of one component, or of all. `make logs ID=...`: every line with that id."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from readmit.command import explained
from stack.configuration import stack_settings


def lines_with(wanted: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (component, line) for each line that holds an id; rotated files first."""
    for path in sorted(
        folder.glob("*.log*"), key=lambda path: (path.name.split(".log")[0], path.suffix == ".log")
    ):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if wanted in line:
                    yield path.name.split(".log")[0], line.rstrip("\n")


def follow(names: Sequence[str], folder: Path) -> NoReturn:
    """Become `tail -F` on the logs."""
    wanted = [folder / f"{name}.log" for name in names] or sorted(folder.glob("*.log"))
    missing = [path.stem for path in wanted if not path.exists()]
    if missing or not wanted:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet: make up"
        sys.exit(f"no log of {', '.join(missing) or 'anything'}; there are: {known}")
    os.execvp("tail", ["tail", "-n", "50", "-F", *map(str, wanted)])  # noqa: S606


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make logs`."""
    parser = argparse.ArgumentParser(prog="make logs", description=__doc__)
    parser.add_argument("names", nargs="*", help="components; none: all")
    parser.add_argument("--id", help="correlation or request id")
    given = parser.parse_args(arguments)
    folder = stack_settings().readmit_home / "log"
    if not given.id:
        follow(given.names, folder)
    found = list(lines_with(given.id, folder))
    for component, line in found:
        print(f"{component}: {line}")
    if not found:
        sys.exit(f"no line with {given.id} in {folder}; each log keeps its last 10 to 20 MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
