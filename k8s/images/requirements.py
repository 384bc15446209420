"""Cut one image's part out of requirements.lock: pinned versions with hashes, nothing resolved anew.

`python requirements.py EXTRA` prints an extra of pyproject.toml with what every part shares; with `--package NAME` only
that package. What each package needs is read from the lock's own `# via` lines, so no registry is asked.
"""

import argparse
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

OWN_EXTRA = re.compile(r"^readmit\[([\w,-]+)\]$")
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def blocks(lock: str) -> dict[str, str]:
    """Return the lines of each package in the lock, by its name."""
    parts = re.split(r"(?m)^(?=[a-z0-9])", lock)
    return {part.split("==", 1)[0].split("[", 1)[0]: part for part in parts if "==" in part}


def parents(block: str) -> set[str]:
    """Return the packages that ask for the one of this block."""
    comments = block[block.index("# via") :] if "# via" in block else ""
    return set(re.findall(r"#\s+(?:via )?([a-z0-9][a-z0-9._-]*)", comments)) - {"via"}


def closure(wanted: Iterable[str], lock: dict[str, str]) -> set[str]:
    """Return the packages that `wanted` need, themselves included.

    Raises:
        KeyError: a package is not in the lock; lock again.
    """
    children: dict[str, set[str]] = {name: set() for name in lock}
    for name, block in lock.items():
        for parent in parents(block) & lock.keys():
            children[parent].add(name)
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += children[name]
    return found


def declared(project: dict[str, object], extra: str) -> set[str]:
    """Return the names that an extra of pyproject.toml asks for, through our own extras too."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    names: set[str] = set()
    for line in extras[extra]:
        if own := OWN_EXTRA.match(line):
            for inner in own[1].split(","):
                names |= declared(project, inner)
        else:
            names.add(canonical(line))
    return names


def canonical(line: str) -> str:
    """Return the name of a requirement as the lock spells it."""
    match = NAME.match(line)
    if match is None:
        raise ValueError(f"not a requirement: {line}")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def main() -> None:
    """Command line; reads pyproject.toml and requirements.lock of the working directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*")
    parser.add_argument(
        "--package", action="append", default=[], help="a package by name, with what it needs"
    )
    parser.add_argument("--core", action="store_true", help="what every part shares")
    arguments = parser.parse_args()
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = blocks(Path("requirements.lock").read_text(encoding="utf-8"))
    wanted = (
        {canonical(line) for line in project["dependencies"]}
        if arguments.core or arguments.extras
        else set()
    )
    wanted |= {canonical(name) for name in arguments.package}
    for extra in arguments.extras:
        wanted |= declared(project, extra)
    print("".join(lock[name] for name in sorted(closure(wanted, lock))), end="")


if __name__ == "__main__":
    main()
