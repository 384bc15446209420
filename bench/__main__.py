"""`make bench`: run the measurements, print a table, write build/bench.json.

A measurement that cannot be made here says what is missing and does not count as failed; the exit code is 1 when a
figure misses its goal or a measurement breaks.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figure import CannotMeasure, Figure
from readmit.settings import ROOT

# Needs 20 GB of disk and a quarter of an hour: `make bench ONLY=batch_cost_100x`.
WHEN_NAMED = {"batch_cost_100x"}
OUTPUT = ROOT / "build" / "bench.json"


Measure = Callable[[], list[Figure]]


def measures() -> dict[tuple[str, ...], Measure]:
    """Return every measurement by the names that it gives: the MEASURES of the modules here."""
    found: dict[tuple[str, ...], Measure] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            found |= getattr(importlib.import_module(f"bench.{path.stem}"), "MEASURES", {})
    return found


def run(wanted: dict[tuple[str, ...], Measure], console: Console) -> tuple[list[Figure], dict[str, str]]:
    """Run measurements; returns the figures and, by name, why some are missing."""
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    for names, measure in wanted.items():
        console.print(f"measuring {', '.join(names)} ...", style="dim")
        try:
            figures += measure()
        except CannotMeasure as error:
            missing |= dict.fromkeys(names, str(error))
    return figures, missing


def table(figures: list[Figure], missing: dict[str, str]) -> Table:
    """Return the table of figures."""
    shown = Table("name", "figure", "unit", "goal", "holds", "detail", box=None, pad_edge=False)
    for found in figures:
        mark = "[green]yes[/]" if found.holds else "[red]no[/]"
        shown.add_row(found.name, f"{found.figure:.3g}", found.unit, found.goal, mark, found.detail)
    for name, why in missing.items():
        shown.add_row(name, "-", "", "", "[yellow]not measured[/]", why)
    return shown


def write(figures: list[Figure], path: Path = OUTPUT) -> None:
    """Write the figures; those of names that were not measured now are kept from before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = {found.name: found.record() for found in figures}
    kept = [entry for entry in before if entry["name"] not in now]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([*kept, *now.values()], indent=1) + "\n", encoding="utf-8")


def _is_wanted(names: tuple[str, ...], only: str | None) -> bool:
    return only in names if only else not set(names) & WHEN_NAMED


def main() -> int:
    """Command line of `make bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="measure one figure")
    only = parser.parse_args().only
    known = measures()
    wanted = {names: measure for names, measure in known.items() if _is_wanted(names, only)}
    if not wanted:
        print(f"error: no figure {only}; there are: {', '.join(n for names in known for n in names)}", file=sys.stderr)
        return 1
    console = Console(highlight=False, soft_wrap=True)
    figures, missing = run(wanted, console)
    write(figures)
    console.print(table(figures, missing))
    return 0 if all(found.holds for found in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
