"""`python -m stack.clock`: what is due by the clock and is no task of Airflow's.

A job is a process of its own, at low priority, so that this one stays small. One runs at a time.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from pathlib import Path

from readmit.ops import backup_folder
from readmit.settings import ROOT, ClockSettings

PERIOD = 60.0  # seconds between two looks
# A stack that has just started has work of its own.
GRACE = timedelta(minutes=10)
# A job that failed is tried again after this time.
RETRY = timedelta(hours=1)
NIGHTLY_CLEANING = time_of_day(3, 37, tzinfo=UTC)  # after the backup
# By how much the clock may be put back without a job that runs a second time. A later last run is
# one of a clock that was wrong: to wait for that time could be to wait for years.
MAX_SHIFT = timedelta(days=1)
NIGHTLY_BACKUP = time_of_day(2, 17, tzinfo=UTC)  # as the CronJob on Kubernetes
LOW_PRIORITY = 10


# The programs that clean each night, by the name of their mark in the clock's folder.
CLEANING = {"old-runs": "stack.old_runs", "old-trainings": "readmit.ops.old_trainings"}


@dataclass
class Job:
    """A command that is due at times.

    Attributes:
        name: of the job, in the log.
        module: what runs, with its arguments.
        last_run: returns when it last succeeded, or None; it may be of a clock that was wrong.
        every: the longest time between two runs; None is the daily time only.
        daily: the time of day at which it runs in any case.
        failed: when it last failed.
        mark: a file whose time is that of the last success.
    """

    name: str
    module: Sequence[str]
    last_run: Callable[[], datetime | None]
    daily: time_of_day
    every: timedelta | None = None
    failed: datetime | None = None
    mark: Path | None = None

    def is_due(self, now: datetime, started: datetime) -> bool:
        """Return whether the job has to run.

        Args:
            now: the time.
            started: when the stack was started; what never ran counts from then.
        """
        if now - started < GRACE:
            return False
        if self.failed is not None and timedelta(0) <= now - self.failed < RETRY:
            return False
        last = self.last_run() or started
        if last > now:  # the clock was put back
            return last - now > MAX_SHIFT
        if self.every is not None and now - last >= self.every:
            return True
        today = datetime.combine(now.date(), self.daily)
        latest = today if today <= now else today - timedelta(days=1)
        return last < latest


@dataclass
class Clock:
    """Runs the jobs that are due, one after the other."""

    jobs: Sequence[Job]
    started: datetime
    run: Callable[[Job], bool]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def look(self) -> None:
        """Run every job that is due."""
        self.started = min(self.started, self.now())  # it was later when the clock was put back
        for job in self.jobs:
            if job.is_due(self.now(), self.started):
                job.failed = None if self.run(job) else self.now()


def jobs(settings: ClockSettings) -> list[Job]:
    """Return the jobs of this stack."""
    folder = settings.backup_folder()

    def last_backup() -> datetime | None:
        backups = backup_folder.saved(folder)
        return _time_of(backups[-1]) if backups else None

    marks = settings.readmit_home / "clock"
    listed = []
    for name, module in CLEANING.items():
        last_cleaning = partial(_time_of, marks / name)
        listed.append(Job(name, (module,), last_cleaning, NIGHTLY_CLEANING, mark=marks / name))
    if settings.readmit_backup_every:
        every = timedelta(hours=settings.readmit_backup_every)
        listed.append(Job("backup", ("stack.backups", "save"), last_backup, NIGHTLY_BACKUP, every))
    return listed


def run(job: Job) -> bool:
    """Run a job to its end, and return whether it succeeded."""
    began = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", *job.module],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        preexec_fn=lambda: os.nice(LOW_PRIORITY),
    )
    last_line = process.stdout.strip().rpartition("\n")[2]
    level = "INFO" if process.returncode == 0 else "ERROR"
    seconds = time.monotonic() - began
    _report(f"{level} {job.name}: {last_line or 'no message'} ({seconds:.0f} s)")
    if process.returncode == 0 and job.mark is not None:
        job.mark.parent.mkdir(exist_ok=True)
        job.mark.touch()
    return process.returncode == 0


def _time_of(path: Path) -> datetime | None:
    """Return when a file or folder was last written, or None when it is missing."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None


def _report(message: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {message}", flush=True)


def main() -> int:
    """Look every minute, until the supervisor ends this process."""
    clock = Clock(jobs(ClockSettings()), datetime.now(UTC), run)
    while True:
        time.sleep(PERIOD)
        try:
            clock.look()
        except Exception as error:
            _report(f"ERROR the look failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
