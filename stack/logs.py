"""`make logs`: follow the logs of the stack.

`make logs NAME=api` follows one component. `make logs ID=...` prints every line with that id.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from stack.configuration import stack_settings


def lines_with(identifier: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (component, line) for each line that contains an id; rotated files come first."""
    for path in sorted(folder.glob("*.log*"), key=_age_order):
        component, _ = _age_order(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if identifier in line:
                    yield component, line.rstrip("\n")


def _age_order(path: Path) -> tuple[str, bool]:
    """Return the component of a log file and whether the file is its current one."""
    return path.name.split(".log")[0], path.suffix == ".log"


def follow(names: Sequence[str], folder: Path) -> NoReturn:
    """Replace this process by `tail -F` on the logs; no names means all."""
    existing = sorted(path.stem for path in folder.glob("*.log"))
    if not existing:
        sys.exit("there are no logs yet: run make up")
    missing = [name for name in names if name not in existing]
    if missing:
        sys.exit(f"there is no log of {', '.join(missing)}; there are: {', '.join(existing)}")
    paths = [str(folder / f"{name}.log") for name in names or existing]
    os.execvp("tail", ["tail", "-n", "50", "-F", *paths])  # noqa: S606


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make logs`."""
    parser = argparse.ArgumentParser(prog="make logs", description=__doc__)
    parser.add_argument("names", nargs="*", help="components; none: all")
    parser.add_argument("--id", help="correlation or request id")
    options = parser.parse_args(arguments)
    folder = stack_settings().readmit_home / "log"
    if not options.id:
        follow(options.names, folder)
    matches = list(lines_with(options.id, folder))
    for component, line in matches:
        print(f"{component}: {line}")
    if not matches:
        sys.exit(f"no line with {options.id} in {folder}; each log keeps its last 10 to 20 MB")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
