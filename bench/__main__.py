"""`make bench`: run the measurements, print a table, write build/bench.json.

`make bench ONLY=name,name` chooses. A measurement that cannot be made here says what is missing and does not count as
failed; the exit code is 1 when a figure misses its goal or a measurement breaks.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figure import CannotMeasure, Figure
from readmit import open_files
from readmit.settings import ROOT

# Needs 20 GB of disk and a quarter of an hour: `make bench ONLY=batch_cost_100x`.
WHEN_NAMED = {"batch_cost_100x"}
QUIET = 0.5  # load average
OUTPUT = ROOT / "build" / "bench.json"


Measure = Callable[[], list[Figure]]


def measures() -> dict[tuple[str, ...], Measure]:
    """Return every measurement by the names that it gives: the MEASURES of the modules here."""
    found: dict[tuple[str, ...], Measure] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            found |= getattr(importlib.import_module(f"bench.{path.stem}"), "MEASURES", {})
    return found


def run(
    wanted: dict[tuple[str, ...], Measure], console: Console, keep: Callable[[list[Figure]], None]
) -> tuple[list[Figure], dict[str, str], list[str]]:
    """Run measurements, and keep the figures of each at once: a run may be ended at any time.

    Returns:
        The figures, by name why some are missing, and the names of measurements that broke.
    """
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    broken: list[str] = []
    began = time.monotonic()
    for number, (names, measure) in enumerate(wanted.items(), 1):
        elapsed = f"{time.monotonic() - began:.0f} s"
        console.print(
            f"[{number} of {len(wanted)}, {elapsed}] measuring {', '.join(names)} ...", markup=False
        )
        try:
            found = measure()
        except CannotMeasure as error:
            missing |= dict.fromkeys(names, str(error))
        except Exception as error:  # the other figures are worth having all the same
            console.print_exception()
            missing |= dict.fromkeys(names, f"broke: {error!r}")
            broken += names
        else:
            keep(found)
            figures += found
        console.print(*_lines(names, figures, missing), sep="\n", markup=False)
    return figures, missing, broken


def _lines(names: tuple[str, ...], figures: list[Figure], missing: dict[str, str]) -> list[str]:
    measured = [
        f"  {each.name} {each.figure:.3g} {each.unit}: {each.detail}"
        for each in figures
        if each.name in names
    ]
    return measured + [
        f"  {name} not measured: {missing[name]}" for name in names if name in missing
    ]


def table(figures: list[Figure], missing: dict[str, str]) -> Table:
    """Return the table of figures; details, and why some are missing, were printed when they were measured."""
    shown = Table("name", "figure", "unit", "goal", "holds", box=None, pad_edge=False)
    for found in figures:
        mark = "[green]yes[/]" if found.holds else "[red]no[/]"
        shown.add_row(found.name, f"{found.figure:.3g}", found.unit, found.goal, mark)
    for name in missing:
        shown.add_row(name, "-", "", "", "[yellow]not measured[/]")
    return shown


def write(figures: list[Figure], path: Path = OUTPUT) -> None:
    """Write the figures; those of names that were not measured now are kept from before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = {found.name: found.record() for found in figures}
    kept = [entry for entry in before if entry["name"] not in now]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([*kept, *now.values()], indent=1) + "\n", encoding="utf-8")


def chosen(known: dict[tuple[str, ...], Measure], only: str) -> dict[tuple[str, ...], Measure]:
    """Return the measurements of some names, separated by commas, or of all but those that must be named.

    Raises:
        LookupError: there is no figure of that name; the message has those that there are.
    """
    asked = {name.strip() for name in only.split(",") if name.strip()}
    if strange := asked - {name for names in known for name in names}:
        there = ", ".join(name for names in known for name in names)
        raise LookupError(f"no figure {', '.join(sorted(strange))}; there are: {there}")
    return {
        names: measure
        for names, measure in known.items()
        if (asked & set(names) if asked else not set(names) & WHEN_NAMED)
    }


def main() -> int:
    """Command line of `make bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="figures to measure (default: all that are quick)"
    )
    parser.add_argument("--only", metavar="NAMES", default="", help="the same, separated by commas")
    given = parser.parse_args()
    if too_low := open_files.raise_limit():
        print(too_low, file=sys.stderr)
    try:
        wanted = chosen(measures(), ",".join([*given.names, given.only]))
    except LookupError as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 1
    console = Console(highlight=False, soft_wrap=True)
    if (load := os.getloadavg()[0]) > QUIET:
        console.print(
            f"the machine is busy (load {load:.1f}): figures are worth little until it is quiet"
        )
    figures, missing, broken = run(wanted, console, write)
    console.print(table(figures, missing))
    return 0 if all(found.holds for found in figures) and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
