"""Monitoring is fetched while `make up` runs: nothing waits for it, and a missing part is one line."""

import os
import sys
import time

import pytest

from readmit.settings import StackSettings
from stack import configuration, monitoring, programs, releases
from tests.support.release_server import GOOD, release, server
from tests.support.services import free_port, wait_until


@pytest.fixture
def settings(tmp_path, monkeypatch) -> StackSettings:
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none.env"))
    monkeypatch.setattr(monitoring, "find_installed", lambda name: None)
    return StackSettings(readmit_home=tmp_path)


def download(settings, pending, started=None) -> monitoring.Download:
    """Start a download, which appends the time to `started` when it starts programs."""
    if started is None:
        started = []
    running = monitoring.Download(settings, pending, lambda: started.append(time.monotonic()))
    running.start()
    return running


def quiet(news: str) -> None:
    """Show nothing."""


def test_installed_programs_are_used_under_either_name(tmp_path, monkeypatch):
    (tmp_path / "node_exporter").touch(0o755)
    (tmp_path / "prometheus-alertmanager").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = monitoring.find(StackSettings(readmit_home=tmp_path))
    assert paths == {
        "node-exporter": str(tmp_path / "node_exporter"),
        "alertmanager": str(tmp_path / "prometheus-alertmanager"),
    }
    names = [missing.name for missing in monitoring.to_fetch(StackSettings(readmit_home=tmp_path))]
    assert set(names) == set(monitoring.PROGRAMS) - set(paths)
    assert names[-1] == "grafana"


def test_fetched_programs_are_found_and_started_like_installed_ones(settings):
    for pinned in releases.read().values():
        path = pinned.path(settings.readmit_home)
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    assert monitoring.to_fetch(settings) == []
    commands = {program.name: program.command[0] for program in programs.all_programs(settings)}
    for name, pinned in releases.read().items():
        assert commands[name] == str(pinned.path(settings.readmit_home))
    assert programs.installation_hints(settings) == []
    grafana = programs.find("grafana", settings)
    assert grafana.command[1] == "server"


def test_off_leaves_everything_out(settings):
    off = settings.model_copy(update={"monitoring": False})
    assert monitoring.find(off) == {}
    assert monitoring.to_fetch(off) == []
    assert programs.installation_hints(off) == []
    names = {program.name for program in programs.all_programs(off)}
    assert not names & set(programs.OPTIONAL)
    api = programs.find("api", off)
    assert "READMIT_PUSHGATEWAY_URL" not in " ".join(programs.environment_of(api, off))


def test_off_lasts_until_on(settings, monkeypatch):
    monkeypatch.setattr(configuration, "StackSettings", lambda: settings)
    assert configuration.stack_settings().monitoring
    configuration.keep_monitoring(settings, "off")
    assert not configuration.stack_settings().monitoring
    configuration.keep_monitoring(settings, "")
    assert not configuration.stack_settings().monitoring
    configuration.keep_monitoring(settings, "on")
    assert configuration.stack_settings().monitoring


def test_nothing_waits_for_a_server_that_does_not_answer(settings):
    began = time.monotonic()
    with server(pause=60) as (url, _):
        running = download(settings, [release(GOOD, url)])
        running.stack_runs()
        assert time.monotonic() - began < 10  # this machine may be busy
        running.wait(0.2, quiet)
        assert "Tool (not installed, and the download failed: not complete" in running.report()
        assert running.errors == []


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_the_download_leaves_the_processor_to_the_rest(settings):
    own_priority = os.getpriority(os.PRIO_PROCESS, 0)
    with server(pause=60) as (url, _):
        running = download(settings, [release(GOOD, url)])

        def has_lowest_priority() -> bool:
            priority = os.getpriority(os.PRIO_PROCESS, running.native_id or 0)
            return bool(running.native_id) and priority == monitoring.LOWEST_PRIORITY

        wait_until(has_lowest_priority, "the download has a higher priority", pause=0.01)
        assert os.getpriority(os.PRIO_PROCESS, 0) == own_priority
        running.wait(0.1, quiet)


def test_a_release_is_started_once_it_is_there_and_the_stack_runs(settings):
    started: list[float] = []
    with server() as (url, _):
        running = download(settings, [release(GOOD, url)], started)
        running.wait(10, quiet)
        assert started == []  # the supervisor does not run yet
        running.stack_runs()
    assert len(started) == 1
    assert running.report() == ""


def test_a_release_that_comes_later_is_started_then(settings):
    started: list[float] = []
    with server() as (url, _):
        running = monitoring.Download(settings, [release(GOOD, url)], lambda: started.append(1.0))
        running.stack_runs()
        assert started == []
        running.start()
        running.wait(10, quiet)
    assert len(started) == 1


def test_offline_is_one_line_and_jobs_do_not_push(settings):
    pinned = releases.read()
    mirrored = settings.model_copy(update={"monitoring_mirror": f"http://127.0.0.1:{free_port()}"})
    assert monitoring.is_expected("pushgateway", mirrored)
    (settings.readmit_home / "programs").mkdir()
    running = download(mirrored, list(pinned.values()))
    running.wait(20, quiet)
    line = running.report()
    assert "\n" not in line
    assert line.startswith("left out: Pushgateway, Node exporter, Postgres exporter,")
    assert line.count("refused") == 1
    assert running.errors == []
    assert not monitoring.is_expected("pushgateway", mirrored)
    api = programs.find("api", mirrored)
    assert "READMIT_PUSHGATEWAY_URL" not in " ".join(programs.environment_of(api, mirrored))


def test_another_digest_is_an_error_and_the_rest_is_fetched(settings):
    with server() as (url, _):
        wrong = release(GOOD, url, digest="b" * 64)
        running = download(settings, [wrong, release(GOOD, url)])
        running.wait(20, quiet)
    [line] = running.errors
    assert line.startswith("Tool is not used: ")
    assert "b" * 64 in line
    assert running.report() == ""
    assert release(GOOD, url).is_fetched(settings.readmit_home)


def test_a_start_that_fails_does_not_end_the_download(settings):
    def fail() -> None:
        raise OSError("no space left")

    with server() as (url, _):
        running = monitoring.Download(settings, [release(GOOD, url)], fail)
        running.stack_runs()
        running.start()
        running.wait(10, quiet)
    assert running.errors == ["what was downloaded was not started: no space left"]


def test_every_program_of_monitoring_has_a_release_and_a_fixed_priority(settings):
    assert sorted(releases.read()) == sorted(monitoring.PROGRAMS)
    alone = configuration.supervisor_configuration(settings, programs.all_programs(settings))
    for entry in releases.read().values():
        path = entry.path(settings.readmit_home)
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    later = configuration.supervisor_configuration(settings, programs.all_programs(settings))
    changed = set(alone.split("[program:")) - set(later.split("[program:"))
    names = {section.partition("]")[0] for section in changed}
    assert names <= {"watchdog"}  # it learns of the new ones; nothing else restarts
