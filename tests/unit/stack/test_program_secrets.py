"""Each program has the secrets that it uses and no others; the table of docs/architecture.md says so.

Before, the web form's environment held the superuser's password and the keys of the object store.
"""

import os

import pytest

from readmit.settings import StackSettings, all_names, variable
from readmit.storage import variables as keys
from stack import alerting, configuration, programs, web_logins
from tests.support.secret_table import secrets_of_programs

OBSERVABILITY = {
    "pushgateway": programs.pushgateway,
    "node-exporter": programs.node_exporter,
    "postgres-exporter": programs.postgres_exporter,
    "blackbox-exporter": programs.blackbox_exporter,
    "alertmanager": programs.alertmanager,
    "prometheus": programs.prometheus,
    "grafana": programs.grafana,
}
SECRETS = secrets_of_programs()
del SECRETS["pgbouncer"]  # of Kubernetes
for name in [name for name in SECRETS if name.startswith("airflow-task")]:
    SECRETS["airflow-scheduler"] |= SECRETS.pop(name)  # it runs the tasks on one machine
# There the monitor logs in as training.
SECRETS["airflow-scheduler"].discard("READMIT_MLFLOW_API_PASSWORD")


def secret_names() -> set[str]:
    """Return every secret setting, and the names of keys that belong to one."""
    names = set()
    for name, field in StackSettings.model_fields.items():
        if "SecretStr" in str(field.annotation) or name.endswith("_access_key_id"):
            names.add(variable(name))
    return names


def distinct(name: str) -> str:
    return f"value-of-{name.lower().replace('_', '-')}-end"


@pytest.fixture
def settings(monkeypatch) -> StackSettings:
    for name in secret_names():
        monkeypatch.setenv(name, distinct(name))
    monkeypatch.setenv("READMIT_LISTEN_ADDRESS", "0.0.0.0")  # with the log-in proxy
    return StackSettings()


def listed(settings: StackSettings) -> dict[str, programs.Program]:
    """Return every program, also JupyterLab, and those of monitoring that this machine lacks."""
    by_name = {program.name: program for program in programs.all_programs(settings)}
    for name, build in OBSERVABILITY.items():
        by_name.setdefault(name, build(settings, f"/usr/bin/{name}"))
    by_name["notebook"] = programs.notebook(settings)
    return by_name


def held(program: programs.Program, settings: StackSettings) -> set[str]:
    """Return the secrets whose value stands anywhere in a program's environment or command."""
    environment = programs.environment_of(program, settings)
    text = " ".join([*environment.values(), *program.command])
    if program.name == "alertmanager":
        mail = {"alert_email_to": "a@example.org", "alert_smtp_address": "mail.example.org:587"}
        text += alerting.configuration(settings.model_copy(update=mail))
    if program.name == "prometheus":
        text += " ".join(web_logins.files(settings).values())
    return {name for name in secret_names() if distinct(name) in text}


def test_every_program_is_in_the_table(settings):
    assert set(listed(settings)) == set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_a_program_has_its_own_secrets_and_no_others(name, settings):
    assert held(listed(settings)[name], settings) == SECRETS[name]


@pytest.mark.parametrize("name", SECRETS)
def test_a_program_does_not_read_the_file_with_all_secrets(name, settings, monkeypatch):
    monkeypatch.setenv("READMIT_ENV_FILE", "/somewhere/.env")
    program = listed(settings)[name]
    assert programs.environment_of(program, settings)["READMIT_ENV_FILE"] == os.devnull


def test_every_generated_secret_is_a_setting_that_the_table_knows():
    assert set(configuration.GENERATORS) <= all_names()
    assert set(configuration.GENERATORS) <= secret_names()
    in_use = set().union(*SECRETS.values())
    set_up_only = {"READMIT_AIRFLOW_ADMIN_PASSWORD", *map(variable, keys("admin"))}
    only_as_a_hash = {"READMIT_PROXY_PASSWORD"}
    assert set(configuration.GENERATORS) - in_use == set_up_only | only_as_a_hash
