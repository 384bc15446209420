"""`make bench`: run the measurements, print a table, write build/bench.json.

`make bench ONLY=name,name` chooses. A measurement that cannot be made on this machine says what is
missing and does not count as failed. The exit code is 1 when a figure misses its goal or a
measurement breaks.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figure import CannotMeasure, Figure
from readmit import open_files
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT

# The first needs 20 GB of disk and a quarter of an hour, the others stop and start the stack:
# `make bench ONLY=batch_cost_100x`.
ONLY_WHEN_NAMED = {"batch_cost_100x", "upgrade_minutes", "restore_minutes"}
QUIET_LOAD_AVERAGE = 0.5
OUTPUT = ROOT / "build" / "bench.json"

Measure = Callable[[], list[Figure]]
# Measurements by the names of the figures that each gives.
Measurements = dict[tuple[str, ...], Measure]


@dataclass
class Results:
    """The figures, by name why some are missing, and the names of measurements that broke."""

    figures: list[Figure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def all_measurements() -> Measurements:
    """Return every measurement: the MEASURES of the modules of this folder."""
    measurements: Measurements = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            module = importlib.import_module(f"bench.{path.stem}")
            measurements |= getattr(module, "MEASURES", {})
    return measurements


def run(
    measurements: Measurements, console: Console, save: Callable[[list[Figure]], None]
) -> Results:
    """Run measurements, and save the figures of each at once: a run may be ended at any time."""
    results = Results()
    began = time.monotonic()
    for number, (names, measure) in enumerate(measurements.items(), start=1):
        progress = f"{number} of {len(measurements)}, {time.monotonic() - began:.0f} s"
        console.print(f"[{progress}] measuring {', '.join(names)} ...", markup=False)
        try:
            figures = measure()
        except CannotMeasure as error:
            _report_missing(names, str(error), results, console)
        except Exception as error:  # the other figures are worth having all the same
            console.print_exception()
            results.broken += names
            _report_missing(names, f"broke: {error!r}", results, console)
        else:
            save(figures)
            results.figures += figures
            for figure in figures:
                line = f"  {figure.name} {figure.figure:.3g} {figure.unit}: {figure.detail}"
                console.print(line, markup=False)
    return results


def _report_missing(
    names: tuple[str, ...], reason: str, results: Results, console: Console
) -> None:
    for name in names:
        results.missing[name] = reason
        console.print(f"  {name} not measured: {reason}", markup=False)


def table(results: Results) -> Table:
    """Return the table of figures; details and reasons were printed when they were measured."""
    rows = Table("name", "figure", "unit", "goal", "holds", box=None, pad_edge=False)
    for figure in results.figures:
        mark = "[green]yes[/]" if figure.holds else "[red]no[/]"
        rows.add_row(figure.name, f"{figure.figure:.3g}", figure.unit, figure.goal, mark)
    for name in results.missing:
        rows.add_row(name, "-", "", "", "[yellow]not measured[/]")
    return rows


def write(figures: list[Figure], path: Path = OUTPUT) -> None:
    """Write the figures; entries of other names stay."""
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    by_name = {entry["name"]: entry for entry in entries}
    for figure in figures:
        by_name.pop(figure.name, None)
        by_name[figure.name] = figure.record()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(by_name.values()), indent=1) + "\n", encoding="utf-8")


def chosen(measurements: Measurements, only: str) -> Measurements:
    """Return the measurements of some names, or of all but those that must be named.

    Args:
        measurements: every measurement.
        only: names of figures, separated by commas; may be empty.

    Raises:
        LookupError: there is no figure of that name; the message has those that exist.
    """
    names = {name.strip() for name in only.split(",") if name.strip()}
    existing = [name for group in measurements for name in group]
    unknown = sorted(names.difference(existing))
    if unknown:
        raise LookupError(f"no figure {', '.join(unknown)}; there are: {', '.join(existing)}")
    selection: Measurements = {}
    for group, measure in measurements.items():
        is_named = bool(names.intersection(group))
        is_default = not names and not ONLY_WHEN_NAMED.intersection(group)
        if is_named or is_default:
            selection[group] = measure
    return selection


def main() -> int:
    """Command line of `make bench`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="figures to measure (default: all that are quick)"
    )
    parser.add_argument("--only", metavar="NAMES", default="", help="the same, separated by commas")
    arguments = parser.parse_args()
    limit_too_low = open_files.raise_limit()
    if limit_too_low:
        print(limit_too_low, file=sys.stderr)
    try:
        measurements = chosen(all_measurements(), ",".join([*arguments.names, arguments.only]))
    except LookupError as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 1
    console = Console(highlight=False, soft_wrap=True)
    load_average = os.getloadavg()[0]
    if load_average > QUIET_LOAD_AVERAGE:
        console.print(
            f"the machine is busy (load {load_average:.1f}): figures are worth little until it is"
            " quiet"
        )
    results = run(measurements, console, write)
    console.print(table(results))
    all_hold = all(figure.holds for figure in results.figures)
    return 0 if all_hold and not results.broken else 1


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
