"""Variables of other projects in a shell: none reaches a program, a command or a setting."""

import os
import subprocess
import sys

import pytest

from readmit import inherited_environment
from readmit.intake import public_transport
from readmit.settings import (
    PREFIX,
    ROOT,
    SECTIONS,
    StackSettings,
    class_at,
    old_names,
    variable,
)
from stack import programs
from tests.support.hostile_environment import FAMILIES, variables

MISSING = "the value of nothing"


@pytest.mark.parametrize("address", [address for _, address in SECTIONS])
def test_no_settings_class_reads_a_variable_without_the_prefix(address, monkeypatch, tmp_path):
    monkeypatch.setenv("READMIT_ENV_FILE", str(tmp_path / "none"))
    settings_class = class_at(address)
    defaults = settings_class()
    for name in settings_class.model_fields:
        if name.upper() != variable(name):
            monkeypatch.setenv(name.upper(), MISSING)
            monkeypatch.setenv(name, MISSING)
    monkeypatch.setenv("HOME_", MISSING)
    assert settings_class() == defaults


def test_every_subclass_of_settings_has_the_prefix_and_no_alias_without_it():
    def with_subclasses(settings_class):
        yield settings_class
        for subclass in settings_class.__subclasses__():
            yield from with_subclasses(subclass)

    for settings_class in with_subclasses(class_at("readmit.settings:Settings")):
        assert settings_class.model_config["env_prefix"] == PREFIX, settings_class
        for name, field in settings_class.model_fields.items():
            alias = None
            if name.upper().startswith(PREFIX):
                alias = name
            assert field.validation_alias == alias, name


def test_a_name_that_has_the_prefix_gets_no_second_one():
    assert variable("readmit_home") == "READMIT_HOME"
    assert variable("POSTGRES_PORT") == variable("postgres_port") == "READMIT_POSTGRES_PORT"


def test_old_names_are_read_from_the_file_only_and_new_ones_win(tmp_path, monkeypatch):
    path = tmp_path / "old.env"
    path.write_text(
        "POSTGRES_PORT=6001\nREADMIT_POSTGRES_PORT=6002\nAPI_PORT=6003\nREADMIT_HOME=/srv/x\n"
        "MODEL_NAME=mine\nREADER_PASSWORD=secret\n"
    )
    monkeypatch.setenv("READMIT_ENV_FILE", str(path))
    for name in ("API_PORT", "MODEL_NAME", "UI_PORT", "READER_PASSWORD"):
        monkeypatch.setenv(name, "7000")
    settings = StackSettings()
    assert (settings.postgres_port, settings.api_port, settings.ui_port) == (6002, 6003, 8501)
    assert (settings.model_name, str(settings.readmit_home)) == ("mine", "/srv/x")
    assert settings.reader_password.get_secret_value() == "secret"
    monkeypatch.setenv("READMIT_API_PORT", "7001")
    assert StackSettings().api_port == 7001


@pytest.mark.parametrize(
    "name", [program.name for program in programs.all_programs(StackSettings())]
)
def test_a_program_gets_nothing_of_a_hostile_shell(name, monkeypatch):
    settings = StackSettings()
    program = programs.find(name, settings)
    own_environment = programs.environment_of(program, settings)
    for variable_name, value in variables().items():
        monkeypatch.setenv(variable_name, value)
    hostile = programs.environment_of(program, settings)
    allowed = set(inherited_environment.ALLOWED) | set(inherited_environment.proxies(os.environ))
    changed = {key for key, value in hostile.items() if own_environment.get(key) != value}
    assert changed <= allowed, changed
    assert own_environment.keys() <= hostile.keys()


def test_a_command_forgets_the_shell_and_keeps_its_settings(tmp_path):
    own = {"READMIT_API_PORT": "9001", "LC_ALL": "C.UTF-8", "SSL_CERT_FILE": "/etc/ca.pem"}
    shell = os.environ | variables() | own | {"https_proxy": "http://proxy:3128"}
    for name in ("PYTHONHOME", "PYTHONWARNINGS", "PYTHONINSPECT", "LD_PRELOAD"):
        shell.pop(name, None)  # what reaches Python before our first line; make drops it
    code = (
        "import os; from readmit.inherited_environment import forget_the_shell;"
        "forget_the_shell(); print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=shell | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    left = dict(line.split("=", 1) for line in process.stdout.splitlines())
    assert own.items() <= left.items()
    assert left["READMIT_HTTPS_PROXY"] == "http://proxy:3128"
    for name in variables().keys() - inherited_environment.ALLOWED:
        assert name not in left or left[name] == os.devnull, name
    for name in left:
        assert not name.lower().endswith("_proxy") or PREFIX in name


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_of_other_projects_is_on_the_list(family):
    for name in inherited_environment.ALLOWED:
        assert not name.startswith(family), name


@pytest.mark.parametrize(
    ("shell", "host", "proxy"),
    [
        ({"READMIT_HTTP_PROXY": "http://proxy:3128"}, "public.example", "http://proxy:3128"),
        ({"READMIT_ALL_PROXY": "http://proxy:3128"}, "public.example", "http://proxy:3128"),
        ({"READMIT_ALL_PROXY": "socks5://proxy:1080"}, "public.example", ""),
        ({"READMIT_ALL_PROXY": "http://proxy:3128"}, "127.0.0.1", ""),
        ({"READMIT_ALL_PROXY": "http://proxy:3128"}, "localhost", ""),
        (
            {"READMIT_ALL_PROXY": "http://proxy:3128", "READMIT_NO_PROXY": "public.example"},
            "public.example",
            "",
        ),
        (
            {"READMIT_ALL_PROXY": "http://proxy:3128", "READMIT_NO_PROXY": ",,://;*.[x"},
            "public.example",
            "http://proxy:3128",
        ),
    ],
)
def test_downloads_and_only_downloads_use_a_proxy(shell, host, proxy, monkeypatch):
    import httpx

    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    assert public_transport.proxy_for(httpx.URL(f"http://{host}/")) == proxy


def test_a_proxy_in_lower_case_wins():
    shell = {"http_proxy": "http://a", "HTTP_PROXY": "http://b", "READMIT_ALL_PROXY": "http://c"}
    assert inherited_environment.proxies(shell) == {
        "READMIT_HTTP_PROXY": "http://a",
        "READMIT_ALL_PROXY": "http://c",
    }


def test_every_setting_has_an_old_name_but_those_that_had_the_prefix_before():
    assert old_names()["POSTGRES_PORT"] == "READMIT_POSTGRES_PORT"
    assert "READMIT_HOME" not in old_names()
    assert "HOME" not in old_names()
