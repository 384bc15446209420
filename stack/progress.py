"""What `make up` shows while it works: the phase, the latest news, the time; and at the end where the time went."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table


class Progress:
    """Phases with their seconds. On a terminal one line is rewritten; elsewhere only news is printed."""

    def __init__(self, console: Console | None = None) -> None:
        # Into a file or a pipe nothing needs to be cut.
        width = None if sys.stdout.isatty() else 200
        self.console = console or Console(highlight=False, soft_wrap=True, width=width)
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._phase = ""
        self._news = ""
        self._status: Status | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a phase while the block runs, and keep its time."""
        began, self._phase, self._news = time.monotonic(), name, ""
        with self.console.status("") as self._status:
            self.show("")
            yield
        self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - began
        self.console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - began:.0f} s[/]")

    def show(self, news: str) -> None:
        """Show the latest news of the phase."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        line = f"{minutes:02}:{seconds:02}  {self._phase}" + (f": {news}" if news else "")
        if self._status is not None and self.console.is_terminal:
            self._status.update(line)
        elif news != self._news or not news:
            self.console.print(line)
            sys.stdout.flush()
        self._news = news

    def error(self, said: str) -> None:
        """Show what went wrong, as it was said: brackets in it are no markup."""
        self.console.print(f"error: {said}", style="red", markup=False)

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def summary(self) -> Table:
        """Return where the time went."""
        table = Table("phase", "seconds", box=None, pad_edge=False)
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}")
        table.add_row("[bold]all[/]", f"[bold]{time.monotonic() - self._started:.1f}[/]")
        return table
