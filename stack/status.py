"""`make status`: the state, address, memory and last logged error of each component."""

import argparse
import json
import sys
from typing import TypedDict

from rich.table import Table
from rich.text import Text

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import StackSettings
from stack import processes, programs, readiness
from stack.configuration import stack_settings
from stack.progress import wide_console
from stack.supervisor import Supervisor

LONGEST_ERROR = 60


class Component(TypedDict):
    """A component of the stack; `state` is the supervisor's word for it."""

    name: str
    title: str
    up: bool
    state: str
    address: str
    memory_mb: int
    last_error: str


def components(settings: StackSettings) -> list[Component]:
    """Return the state of each program, and of the supervisor when it runs."""
    supervisor = Supervisor(settings)
    states = supervisor.states()
    rows: list[Component] = []
    for program in programs.all_programs(settings):
        info = states.get(program.name, {})
        state = str(info.get("statename", "STOPPED"))
        memory_mb = 0.0
        if info.get("pid"):
            memory_mb = processes.memory_mb(processes.family(int(info["pid"])))
        component: Component = {
            "name": program.name,
            "title": program.title,
            "up": state == "RUNNING" and readiness.is_ready(program, settings),
            "state": state,
            "address": program.address,
            "memory_mb": round(memory_mb),
            "last_error": readiness.last_error(program.name, settings),
        }
        rows.append(component)
    process = supervisor.process()
    if process is not None:
        row: Component = {
            "name": "supervisor",
            "title": "Supervisor",
            "up": True,
            "state": "RUNNING",
            "address": "",
            "memory_mb": round(processes.memory_mb([process])),
            "last_error": "",
        }
        rows.append(row)
    return rows


def table(rows: list[Component]) -> Table:
    """Return the components as a table."""
    view = Table(box=None, pad_edge=False)
    for name in ("component", "up", "address", "MB"):
        view.add_column(name, no_wrap=True)
    view.add_column("last error", overflow="ellipsis")
    total_mb = 0
    for row in rows:
        total_mb += row["memory_mb"]
        mark = "[green]yes[/]"
        if not row["up"]:
            mark = f"[red]{row['state'].lower()}[/]"
        error = Text(row["last_error"][:LONGEST_ERROR])
        view.add_row(row["title"], mark, row["address"], str(row["memory_mb"]), error)
    view.add_row("[bold]all[/]", "", "", f"[bold]{total_mb}[/]", "")
    return view


@explained
def main() -> int:
    """Command line of `make status`; the exit code is 1 when something is down."""
    parser = argparse.ArgumentParser(prog="python -m stack.status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    options = parser.parse_args()
    settings = stack_settings()
    rows = components(settings)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        console = wide_console()
        console.print(table(rows))
        for line in programs.installation_hints(settings):
            console.print(line, style="dim")
    is_all_up = all(row["up"] for row in rows)
    return int(not is_all_up)


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
