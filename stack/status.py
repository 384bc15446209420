"""`make status`: each component, whether it is up, its address, its memory, the last error in its log."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from readmit.command import explained
from readmit.settings import StackSettings
from stack import processes, programs, readiness
from stack.configuration import stack_settings
from stack.supervisor import Supervisor

LONGEST_ERROR = 60


def components(settings: StackSettings) -> list[dict[str, Any]]:
    """Return one record per component: name, title, up, the supervisor's state, address, memory in MB, last error."""
    supervisor = Supervisor(settings)
    states = supervisor.states()
    found = [
        _component(program, settings, states.get(program.name, {}))
        for program in programs.all_programs(settings)
    ]
    if process := supervisor.process():
        megabytes = processes.memory_mb([process])
        own = {
            "name": "supervisor",
            "title": "Supervisor",
            "up": True,
            "state": "RUNNING",
            "address": "",
        }
        found.append(own | {"memory_mb": round(megabytes), "last_error": ""})
    return found


def _component(
    program: programs.Program, settings: StackSettings, state: dict[str, Any]
) -> dict[str, Any]:
    name = str(state.get("statename", "STOPPED"))
    is_up = name == "RUNNING" and readiness.is_ready(program, settings)
    memory = processes.memory_mb(processes.family(int(state["pid"]))) if state.get("pid") else 0.0
    return {
        "name": program.name,
        "title": program.title,
        "up": is_up,
        "state": name,
        "address": program.address,
        "memory_mb": round(memory),
        "last_error": readiness.last_error(program.name, settings),
    }


def table(found: list[dict[str, Any]]) -> Table:
    """Return the components as a table."""
    shown = Table(box=None, pad_edge=False)
    for name in ("component", "up", "address", "MB"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("last error", overflow="ellipsis")
    for item in found:
        mark = "[green]yes[/]" if item["up"] else f"[red]{str(item['state']).lower()}[/]"
        shown.add_row(
            item["title"],
            mark,
            item["address"],
            str(item["memory_mb"]),
            Text(item["last_error"][:LONGEST_ERROR]),
        )
    shown.add_row(
        "[bold]all[/]", "", "", f"[bold]{sum(item['memory_mb'] for item in found)}[/]", ""
    )
    return shown


@explained
def main() -> int:
    """Command line of `make status`; the exit code is 1 when something is down."""
    parser = argparse.ArgumentParser(prog="python -m stack.status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    given = parser.parse_args()
    found = components(stack_settings())
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        # Into a file or a pipe nothing needs to be cut.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
        console.print(table(found))
        for line in programs.what_is_missing():
            console.print(line, style="dim")
    return 0 if all(item["up"] for item in found) else 1


if __name__ == "__main__":
    sys.exit(main())
