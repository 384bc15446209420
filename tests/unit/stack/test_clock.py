"""The clock runs each due job once, at its time, also after the machine was off."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

import pytest

from readmit.settings import ClockSettings
from stack.clock import GRACE, RETRY, Clock, Job, jobs, run

NIGHT = time_of_day(2, 17, tzinfo=UTC)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Runs:
    """A job whose runs are recorded."""

    def __init__(self, every: timedelta | None = None, last: datetime | None = None) -> None:
        self.now = NOON
        self.times: list[datetime] = []
        self.last = last
        self.succeeds = True
        job = Job("backup", ("module",), lambda: self.last, NIGHT, every)
        self.clock = Clock([job], NOON, self.run, lambda: self.now)

    def run(self, _: Job) -> bool:
        self.times.append(self.now)
        if self.succeeds:
            self.last = self.now
        return self.succeeds

    def pass_time(self, duration: timedelta) -> list[datetime]:
        end = self.now + duration
        while self.now < end:
            self.now += timedelta(minutes=1)
            self.clock.look()
        return self.times


def test_it_runs_each_night():
    times = Runs().pass_time(timedelta(days=3))
    assert [time.strftime("%d %H:%M") for time in times] == ["27 02:17", "28 02:17", "29 02:17"]


def test_it_runs_as_often_as_the_setting_says_and_at_night():
    times = Runs(every=6 * HOUR).pass_time(timedelta(days=1))
    assert [time.hour for time in times] == [18, 0, 2, 8]


def test_a_machine_that_was_off_makes_up_for_the_night():
    times = Runs(last=NOON - timedelta(days=2)).pass_time(HOUR)
    assert times == [NOON + GRACE]


def test_a_new_stack_has_time_to_start():
    assert Runs(every=24 * HOUR).pass_time(HOUR) == []


def test_a_run_that_failed_is_repeated_after_a_while():
    runs = Runs(last=NOON - timedelta(days=2))
    runs.succeeds = False
    runs.pass_time(3 * HOUR)
    assert len(runs.times) == 3
    assert runs.times[1] - runs.times[0] == RETRY


@pytest.mark.parametrize(
    ("shift", "n_further"), [(timedelta(hours=-3), 0), (timedelta(days=-400), 1)]
)
def test_a_clock_that_was_put_back_runs_nothing_twice(shift, n_further):
    """A last run of a clock that was wrong by more counts as none: no backup for a year is worse."""
    runs = Runs(every=HOUR, last=NOON)
    runs.pass_time(90 * timedelta(minutes=1))
    count = len(runs.times)
    runs.now += shift
    runs.pass_time(HOUR)
    assert len(runs.times) == count + n_further


def test_a_job_that_succeeds_leaves_its_mark(tmp_path):
    settings = ClockSettings(readmit_home=tmp_path)
    cleaning = {job.name: job for job in jobs(settings)}
    assert set(cleaning) == {"backup", "old-runs", "old-trainings"}
    job = replace(cleaning["old-runs"], module=("json.tool", "--help"))
    assert job.last_run() is None
    assert run(job)
    assert datetime.now(UTC) - job.last_run() < HOUR
    assert not run(replace(job, module=("json.tool", "/nowhere")))
