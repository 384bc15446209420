"""Machines that lack something: a writable /tmp, a name for the user, a free port."""

import os
import pwd
import socket

import pytest

from readmit.settings import StackSettings
from stack import (
    configuration,
    doctor,
    machine,
    object_store,
    optional_ports,
    postgres,
    preflight,
    programs,
)
from tests.support import stack


def no_name(_):
    raise KeyError


@pytest.fixture
def settings(tmp_path):
    with stack.environment(stack.write_env(tmp_path)) as settings:
        yield settings


def test_an_ordinary_machine_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert machine.environment(tmp_path) == {}


def test_a_temporary_folder_that_cannot_be_used_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    assert machine.environment(tmp_path)["TMPDIR"] == str(tmp_path / "tmp")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    flags = os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda _: type("Disk", (), {"f_flag": flags}))
    assert machine.environment(tmp_path)["TMPDIR"] == str(tmp_path / "tmp")


def test_the_object_store_gets_a_tmp_of_its_own(tmp_path, monkeypatch):
    store = object_store.Store(tmp_path, 12_345)
    assert store.command()[0].endswith("/weed")
    monkeypatch.setattr(machine, "is_writable", lambda _: False)
    command = store.command()
    assert command[0] == "unshare"
    assert str(tmp_path / "tmp") in command
    assert any(word.endswith("/weed") for word in command)


def test_a_user_id_without_a_name_gets_one(tmp_path, monkeypatch):
    monkeypatch.setattr(pwd, "getpwuid", no_name)
    assert machine.environment(tmp_path)["USER"] == machine.environment(tmp_path)["LOGNAME"] != ""
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    assert postgres.ordinary_user().pw_uid == 54_321
    assert postgres.with_a_name()[:2] == ["unshare", "--user"]


def test_without_a_home_the_state_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    assert machine.environment(tmp_path)["HOME"] == str(tmp_path / "tmp")


@pytest.fixture
def with_prometheus(tmp_path, monkeypatch):
    """Debian's Prometheus is on the PATH, as a file that is never run."""
    (tmp_path / "prometheus").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_a_busy_port_of_an_optional_part_moves_for_good(settings, with_prometheus):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.prometheus_port))
        holder.listen()
        [busy] = optional_ports.busy_ports(settings)
        assert str(busy).startswith(f"port {settings.prometheus_port} for Prometheus is taken by")
        optional_ports.move([busy])
        moved = StackSettings()
        assert moved.prometheus_port == busy.free_port != settings.prometheus_port
        assert optional_ports.busy_ports(moved) == []
    assert moved.reader_password == settings.reader_password
    assert moved.model_copy(update={"prometheus_port": settings.prometheus_port}) == settings


def test_a_busy_port_that_the_environment_sets_leaves_the_part_out(
    settings, with_prometheus, monkeypatch
):
    monkeypatch.setenv("READMIT_PROMETHEUS_PORT", str(settings.prometheus_port))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.prometheus_port))
        holder.listen()
        [busy] = optional_ports.busy_ports(settings)
    assert busy.free_port == 0
    assert "left out, because the environment sets READMIT_PROMETHEUS_PORT" in str(busy)
    optional_ports.move([busy])
    assert StackSettings().prometheus_port == settings.prometheus_port


def test_a_setting_in_env_is_replaced_and_the_rest_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.env"
    path.write_text("# mine\nA=1\nB=2")
    monkeypatch.setenv("READMIT_ENV_FILE", str(path))
    configuration.change_env({"A": "3"})
    assert path.read_text() == "# mine\nB=2\nA=3\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_data_of_another_postgres_is_named(tmp_path):
    assert preflight.other_postgres(tmp_path) == ""
    (tmp_path / "PG_VERSION").write_text("11\n")
    assert "is of Postgres 11, and" in preflight.other_postgres(tmp_path)


def texts(settings, verdict):
    return [finding.text for finding in doctor.findings(settings) if finding.verdict == verdict]


def test_doctor_finds_nothing_wrong_with_this_machine(settings, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "MEMORY_GB", 0.1)
    monkeypatch.setattr(preflight, "DISK_GB", 0.1)
    assert "make up finds nothing that stops it" in texts(settings, "ok")
    assert texts(settings, "fail") == []
    assert doctor.report([doctor.Finding("note", "a")]) == 0
    assert capsys.readouterr().out == "note  a\n"


def test_doctor_names_the_reasons_for_which_make_up_would_stop(settings, tmp_path, monkeypatch):
    (settings.readmit_home / "postgres").mkdir(parents=True)
    (tmp_path / "stack.env").chmod(0o644)
    monkeypatch.setenv("READMIT_DATASET", "/no/such/file.csv")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.api_port))
        holder.listen()
        failures = texts(configuration.stack_settings(), "fail")
    report = "\n".join(["", *failures])
    for beginning in (
        f"make up refuses: port {settings.api_port} for API is taken by",
        f"make up refuses: {settings.readmit_home}/postgres exists, and this stack did not",
        "make up refuses: DATASET: /no/such/file.csv does not exist",
        f"{tmp_path}/stack.env holds secrets and others may read it: chmod 600",
    ):
        assert f"\n{beginning}" in report
    assert doctor.report([doctor.Finding("fail", "a")]) == 1


def test_doctor_names_what_the_shell_changes(settings, monkeypatch):
    monkeypatch.setenv("READMIT_BATCH_SIZE", "32")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    notes = texts(settings, "note")
    assert any("READMIT_BATCH_SIZE" in note and "they win over" in note for note in notes)
    assert "a proxy is set (https_proxy)" in notes


def test_no_program_relies_on_what_localhost_resolves_to(settings):
    """On some machines `localhost` is ::1 only."""
    for program in programs.all_programs(settings):
        texts = [*program.command, *program.environment.values(), program.health, program.address]
        assert "localhost" not in " ".join(texts)
