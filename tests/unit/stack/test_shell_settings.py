"""Settings of a shell end in `.env`, and a `.env` of before 0.2.0 goes on working."""

import os
import stat
import subprocess
import sys

import pytest
from dotenv import dotenv_values

from readmit.settings import ROOT, BadSetting, StackSettings, env_file, old_names
from stack import configuration

ODD = ("with space", "a#b", "'quoted'", '"double"', "back\\slash", "ends\\", "$HOME", "ñandú", "=x")


@pytest.fixture
def env(tmp_path, monkeypatch):
    path = tmp_path / "stack.env"
    monkeypatch.setenv("READMIT_ENV_FILE", str(path))
    return path


def test_settings_of_the_shell_are_stored_and_only_their_names_are_printed(env, monkeypatch):
    monkeypatch.setenv("READMIT_API_PORT", "9123")
    monkeypatch.setenv("READMIT_READER_PASSWORD", "a secret")
    monkeypatch.setenv("READMIT_API_RATE_PER_SECOND", "5")  # a setting of the API only
    monkeypatch.setenv("BATCH_SIZE", "32")
    [line] = configuration.take_environment()
    for name in ("READMIT_API_PORT", "READMIT_READER_PASSWORD", "READMIT_API_RATE_PER_SECOND"):
        assert name in line
    assert "9123" not in line
    assert "secret" not in line
    assert "BATCH_SIZE" not in line
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    for name in ("READMIT_API_PORT", "READMIT_READER_PASSWORD"):
        monkeypatch.delenv(name)
    configuration.write_env()
    settings = StackSettings()  # in the next shell
    assert settings.api_port == 9123
    assert settings.reader_password.get_secret_value() == "a secret"


@pytest.mark.parametrize("value", ODD)
def test_any_password_comes_back_as_it_was(value, env, monkeypatch):
    monkeypatch.setenv("READMIT_READER_PASSWORD", value)
    monkeypatch.setenv("READMIT_TRAINER_PASSWORD", value + value)
    configuration.take_environment()
    monkeypatch.delenv("READMIT_READER_PASSWORD")
    monkeypatch.delenv("READMIT_TRAINER_PASSWORD")
    assert StackSettings().reader_password.get_secret_value() == value
    assert StackSettings().trainer_password.get_secret_value() == value + value


@pytest.mark.parametrize("value", ["two\nlines", "${HOME}", "\x1b[31m", "a\udce9"])
def test_a_value_that_the_file_cannot_hold_is_refused_and_not_shown(value, env, monkeypatch):
    monkeypatch.setenv("READMIT_READER_PASSWORD", value)
    with pytest.raises(BadSetting, match="READMIT_READER_PASSWORD") as refused:
        configuration.take_environment()
    assert value not in str(refused.value)
    assert not env.exists()


def test_a_value_that_cannot_be_used_is_not_stored(env, monkeypatch):
    monkeypatch.setenv("READMIT_API_PORT", "9123")
    monkeypatch.setenv("READMIT_HISTORY_TIMEOUT_MS", "soon")
    with pytest.raises(BadSetting, match="READMIT_HISTORY_TIMEOUT_MS"):
        configuration.take_environment()
    assert not env.exists()


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "READMIT_POSTGRES_PASSWORD"])
def test_another_password_than_postgres_has_is_refused(name, env, monkeypatch):
    env.write_text(f"{name}=first\n")
    monkeypatch.setenv("READMIT_POSTGRES_PASSWORD", "second")
    with pytest.raises(BadSetting, match="unset it") as refused:
        configuration.take_environment()
    assert "second" not in str(refused.value)
    monkeypatch.setenv("READMIT_POSTGRES_PASSWORD", "first")
    configuration.take_environment()


def test_the_source_of_one_run_is_not_a_setting_for_ever(env, monkeypatch):
    monkeypatch.setenv("READMIT_DATASET", "/some/file.csv")
    monkeypatch.setenv("READMIT_DATASET_SHA256", "0" * 64)
    assert configuration.take_environment() == []
    assert not env.exists()


def test_an_env_file_of_windows_is_read_and_goes_on_with_the_same_settings(env):
    """An editor there ends lines by CR LF, and puts a byte order mark first."""
    lines = ("READMIT_API_PORT=9123", 'READMIT_MODEL_NAME="a model"', "READMIT_BATCH_SIZE='700'")
    env.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    configuration.write_env()
    settings = StackSettings()
    assert (settings.api_port, settings.model_name, settings.batch_size) == (9123, "a model", 700)
    assert settings.postgres_password is not None  # added by write_env
    assert b"\r" not in env.read_bytes()


def test_a_checkout_that_turns_line_ends_into_those_of_windows_keeps_ours(tmp_path):
    paths = (
        "Makefile",
        "stack/install.sh",
        "requirements.lock",
        "dbt_project/seeds/icd9_codes.csv",
    )
    command = ["git", "-c", "core.autocrlf=true", "checkout-index", f"--prefix={tmp_path}/", *paths]
    subprocess.run(command, cwd=ROOT, check=True)
    for path in paths:
        assert b"\r" not in (tmp_path / path).read_bytes(), path


def test_an_env_file_with_old_names_works_and_its_names_are_printed(env):
    before = {}
    for name in configuration.GENERATORS:
        old_name = next(old for old, new in old_names().items() if new == name)
        before[old_name] = f"value-of-{old_name}"
    before |= {"MODEL_SIGNING_KEY": "k", "MODEL_PUBLIC_KEY": "p", "API_PORT": "9123"}
    text = "".join(f"{name}={value}\n" for name, value in before.items())
    env.write_text(text)
    [line] = configuration.take_environment()
    for name in before:
        assert name in line
    assert "value-of" not in line
    assert configuration.write_env() == []  # nothing is generated anew
    assert env.read_text() == text
    settings = StackSettings()
    assert settings.api_port == 9123
    assert settings.postgres_password.get_secret_value() == "value-of-POSTGRES_PASSWORD"
    assert settings.aws_secret_access_key.get_secret_value() == "value-of-AWS_SECRET_ACCESS_KEY"


def test_a_changed_setting_replaces_its_old_name(env):
    env.write_text("GRAFANA_PORT=3000\nexport UI_PORT=9000\n# POSTGRES_PORT\n")
    configuration.change_env({"READMIT_GRAFANA_PORT": "3001", "READMIT_UI_PORT": "9001"})
    assert env.read_text() == ("# POSTGRES_PORT\nREADMIT_GRAFANA_PORT=3001\nREADMIT_UI_PORT=9001\n")


def test_the_shell_of_make_up_reaches_no_program_by_the_supervisor(env):
    code = (
        "import os; os.execve = lambda path, command, variables: print(sorted(variables));"
        "from stack import run_program, sessions, programs, processes;"
        "import sys; sys.argv[1:] = ['docs'];"
        "sessions.end = sessions.record = lambda *_: None;"
        "processes.die_with_parent = lambda: None;"
        "run_program.main()"
    )
    env.write_text("READMIT_S3_DOCS_ACCESS_KEY_ID=a\n")
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PGSSLMODE": "require", "DBT_X": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "READMIT_S3_DOCS_ACCESS_KEY_ID" in process.stdout
    assert "PGSSLMODE" not in process.stdout
    assert "DBT_X" not in process.stdout


def test_the_file_has_names_with_the_prefix_only(env):
    configuration.write_env()
    assert all(name.startswith("READMIT_") for name in dotenv_values(env_file()))
