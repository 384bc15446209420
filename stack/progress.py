"""The progress that commands print: the phase, the latest news and the elapsed time."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table


def wide_console(*, soft_wrap: bool = False) -> Console:
    """Return a console that does not cut lines when the output is a file or a pipe."""
    width = None if sys.stdout.isatty() else 200
    return Console(highlight=False, soft_wrap=soft_wrap, width=width)


class Progress:
    """Show phases and measure their seconds.

    On a terminal one line is rewritten. Elsewhere a line is printed whenever the news changes.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or wide_console(soft_wrap=True)
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._phase = ""
        self._news = ""
        self._status: Status | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a phase while the block runs, and record its time."""
        began = time.monotonic()
        self._phase = name
        self._news = ""
        with self.console.status("") as self._status:
            self.show("")
            yield
        self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - began
        self.console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - began:.0f} s[/]")

    def show(self, news: str) -> None:
        """Show the latest news of the phase."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        line = f"{minutes:02}:{seconds:02}  {self._phase}"
        if news:
            line += f": {news}"
        if self._status is not None and self.console.is_terminal:
            self._status.update(line)
        elif news != self._news or not news:
            self.console.print(line)
            sys.stdout.flush()
        self._news = news

    def error(self, message: str) -> None:
        """Show an error message as it is: its brackets are not markup."""
        self.console.print(f"error: {message}", style="red", markup=False)

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def summary(self) -> Table:
        """Return a table with the seconds of each phase."""
        table = Table("phase", "seconds", box=None, pad_edge=False)
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}")
        table.add_row("[bold]all[/]", f"[bold]{time.monotonic() - self._started:.1f}[/]")
        return table
