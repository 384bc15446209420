"""The programs of monitoring: those that the machine has, else pinned releases that are fetched.

Everything else works without them, and nothing waits for them: `Download` works beside `make up`.
`make up MONITORING=off` leaves them out.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from readmit.settings import StackSettings
from stack import releases
from stack.machine import find_program
from stack.releases import NotFetched, Rejected, Release

# Names under which a machine may have each program: Debian's package, and the project's own.
PROGRAMS = {
    "pushgateway": ("prometheus-pushgateway", "pushgateway"),
    "node-exporter": ("prometheus-node-exporter", "node_exporter"),
    "postgres-exporter": ("prometheus-postgres-exporter", "postgres_exporter"),
    "blackbox-exporter": ("prometheus-blackbox-exporter", "blackbox_exporter"),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "prometheus": ("prometheus",),
    "grafana": ("grafana", "grafana-server"),
}
# Below the folder of releases: the names of those that could not be fetched.
LEFT_OUT = "left-out.json"
# Unpacking must not take the processor from what the first prediction needs.
LOWEST_PRIORITY = 19


def find_installed(name: str) -> str | None:
    """Return the path of a program that the machine has, or None."""
    for command in PROGRAMS[name]:
        path = find_program(command)
        if path is not None:
            return path
    return None


def find(settings: StackSettings) -> dict[str, str]:
    """Return the path of each program that can be started, installed or fetched, by its name."""
    if not settings.monitoring:
        return {}
    pinned = releases.read()
    paths = {}
    for name in PROGRAMS:
        path = find_installed(name)
        if path is not None:
            paths[name] = path
        elif name in pinned and pinned[name].is_fetched(settings.readmit_home):
            paths[name] = str(pinned[name].path(settings.readmit_home))
    return paths


def to_fetch(settings: StackSettings) -> list[Release]:
    """Return the releases that `make up` fetches, the largest last."""
    if not settings.monitoring:
        return []
    present = find(settings)
    return [release for release in releases.read().values() if release.name not in present]


def is_expected(name: str, settings: StackSettings) -> bool:
    """Return whether a program is there, or is being fetched."""
    if name in find(settings):
        return True
    names = [release.name for release in to_fetch(settings)]
    return name in names and name not in _left_out(settings.readmit_home)


def _left_out(home: Path) -> list[str]:
    try:
        text = (releases.folder_of_releases(home) / LEFT_OUT).read_text(encoding="utf-8")
        return [str(name) for name in json.loads(text)]
    except (OSError, ValueError):
        return []


class Download(threading.Thread):
    """Fetches releases beside `make up`, and has each started as soon as the stack runs.

    Attributes:
        errors: one line for each archive that is another than the pinned one.
    """

    def __init__(
        self,
        settings: StackSettings,
        pending: Sequence[Release],
        start_programs: Callable[[], None],
    ) -> None:
        """Create a download; `start` begins it.

        Args:
            settings: the settings of the stack.
            pending: what is fetched.
            start_programs: starts every program that is there; called after each release that is
                there once `stack_runs` was called.
        """
        super().__init__(name="download of monitoring", daemon=True)
        self.errors: list[str] = []
        self._settings = settings
        self._pending = list(pending)
        self._reasons: dict[str, str] = {}
        self._start_programs = start_programs
        self._does_stack_run = False
        self._has_new = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Fetch one release after the other; a failure is kept for the report."""
        home = self._settings.readmit_home
        if sys.platform == "linux":  # elsewhere this would slow the whole process down
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        with suppress(OSError):
            (releases.folder_of_releases(home) / LEFT_OUT).unlink()
        for release in list(self._pending):
            try:
                releases.fetch(release, home, self._settings.monitoring_mirror)
                self._has_new = True
                self._start_new()
            except NotFetched as error:
                self._leave_out(release, str(error))
            except Rejected as error:
                self.errors.append(f"{release.title} is not used: {error}")
                self._leave_out(release, "")
            self._pending.remove(release)

    def stack_runs(self) -> None:
        """Have what is there started: the supervisor and the configuration are ready."""
        self._does_stack_run = True
        self._start_new()

    def wait(self, seconds: float, show: Callable[[str], None]) -> None:
        """Wait for the end; what is late is left out."""
        deadline = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < deadline:
            show(f"downloading {', '.join(release.title for release in self._pending)}")
            self.join(0.5)
        if self.is_alive():
            for release in list(self._pending):
                self._reasons[release.title] = f"not complete after {seconds / 60:.0f} minutes"

    def report(self) -> str:
        """Return one line about what could not be fetched, or an empty text."""
        reasons = {title: reason for title, reason in self._reasons.items() if reason}
        if not reasons:
            return ""
        titles = ", ".join(reasons)
        reason = next(iter(reasons.values()))
        return (
            f"left out: {titles} (not installed, and the download failed: {reason})."
            " The next `make up` tries again; make up MONITORING=off leaves them out"
        )

    def _start_new(self) -> None:
        with self._lock:
            if not (self._does_stack_run and self._has_new):
                return
            self._has_new = False
            try:
                self._start_programs()
            except Exception as error:
                self.errors.append(f"what was downloaded was not started: {error}")

    def _leave_out(self, release: Release, reason: str) -> None:
        self._reasons[release.title] = reason
        names = [*_left_out(self._settings.readmit_home), release.name]
        with suppress(OSError):
            path = releases.folder_of_releases(self._settings.readmit_home) / LEFT_OUT
            path.write_text(json.dumps(names), encoding="utf-8")
