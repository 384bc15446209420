"""The progress that commands print: phase, latest news, elapsed time, estimate."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table


def wide_console(*, soft_wrap: bool = False) -> Console:
    """Return a console that does not cut lines when the output is a file or a pipe."""
    width = None if sys.stdout.isatty() else 200
    return Console(highlight=False, soft_wrap=soft_wrap, width=width)


BAR_WIDTH = 24


class Progress:
    """Show phases and measure their seconds.

    On a terminal one line with a bar is rewritten. Elsewhere a line is printed whenever the news
    changes.
    """

    def __init__(
        self, console: Console | None = None, expected: Mapping[str, float] | None = None
    ) -> None:
        """Create a display.

        Args:
            console: where it prints.
            expected: about how many seconds each phase takes; without it there is no estimate.
        """
        self.console = console or wide_console(soft_wrap=True)
        self.seconds: dict[str, float] = {}
        self._expected = dict(expected or {})
        self._started = time.monotonic()
        self._phase = ""
        self._phase_began = self._started
        self._news = ""
        self._status: Status | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a phase while the block runs, and record its time."""
        began = time.monotonic()
        self._phase_began = began
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
            self._status.update(f"{self.bar()}{line}")
        elif news != self._news or not news:
            self.console.print(line)
            sys.stdout.flush()
        self._news = news

    def expect(self, name: str, seconds: float) -> None:
        """Set about how many seconds a phase takes, once that is known better."""
        self._expected[name] = seconds

    def seconds_left(self) -> float:
        """Return about how many seconds the phases that are not finished take."""
        left = 0.0
        for name, seconds in self._expected.items():
            if name == self._phase and name not in self.seconds:
                left += max(0.0, seconds - (time.monotonic() - self._phase_began))
            elif name not in self.seconds:
                left += seconds
        return left

    def bar(self) -> str:
        """Return a bar with the estimate, or an empty text without one."""
        if not self._expected:
            return ""
        left = self.seconds_left()
        share = self.elapsed() / max(self.elapsed() + left, 1.0)
        n_full = round(BAR_WIDTH * share)
        minutes, seconds = divmod(round(left), 60)
        filled = "━" * n_full + "╌" * (BAR_WIDTH - n_full)
        return f"{filled} about {minutes}:{seconds:02} left  "

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
