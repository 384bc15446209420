"""Settings: each is in `.env.example`, and each is read by something."""

import re
from importlib import import_module
from typing import get_args

import pytest

from readmit import db, storage
from readmit.settings import (
    ROOT,
    ArchiveSettings,
    BadSetting,
    ClockSettings,
    DocsSiteSettings,
    OperationsSettings,
    PipelineSettings,
    RetentionSettings,
    Settings,
    StackSettings,
    TrainingRetentionSettings,
    example,
    variable,
)
from serving.api_settings import ServingSettings
from training.training_settings import MonitorSettings, NotebookSettings, TrainingSettings
from ui.form_settings import FormSettings

CLASSES = (
    StackSettings,
    PipelineSettings,
    OperationsSettings,
    DocsSiteSettings,
    FormSettings,
    ServingSettings,
    TrainingSettings,
    MonitorSettings,
    NotebookSettings,
    RetentionSettings,
    ArchiveSettings,
    TrainingRetentionSettings,
)
RETENTION = (
    (ClockSettings, "READMIT_RUN_RETENTION_DAYS"),
    (ClockSettings, "READMIT_BACKUP_KEEP"),
    (ClockSettings, "READMIT_BACKUP_EVERY"),
    (RetentionSettings, "READMIT_LOG_RETENTION_DAYS"),
    (RetentionSettings, "READMIT_PAGE_RETENTION_DAYS"),
    (ArchiveSettings, "READMIT_PREDICTION_RETENTION_DAYS"),
    (TrainingRetentionSettings, "READMIT_TRAINING_RETENTION_DAYS"),
    (TrainingRetentionSettings, "READMIT_MLFLOW_GARBAGE_DAYS"),
)
# Each deployable, and every secret that its process can have.
SECRETS = {
    RetentionSettings: {"s3_logs_secret_access_key", "s3_gates_secret_access_key"},
    FormSettings: {"api_key"},
    DocsSiteSettings: {"s3_docs_secret_access_key"},
    ServingSettings: {
        "serving_password",
        "reader_password",
        "s3_api_secret_access_key",
        "mlflow_api_password",
    },
    PipelineSettings: {
        "erasure_key",
        "loader_password",
        "transformer_password",
        "publisher_password",
        "reader_password",
        "s3_loader_secret_access_key",
        "s3_gates_secret_access_key",
        "pushgateway_password",
    },
    TrainingSettings: {
        "trainer_password",
        "publisher_password",
        "reader_password",
        "s3_gates_secret_access_key",
        "s3_trainer_secret_access_key",
        "mlflow_tracking_password",
        "model_signing_key",
        "pushgateway_password",
    },
    NotebookSettings: {"api_key", "s3_trainer_secret_access_key", "trainer_password"},
    OperationsSettings: {
        *(f"{role}_password" for role in get_args(db.Role)),
        "aws_secret_access_key",
        "s3_mlflow_secret_access_key",
        "s3_backup_secret_access_key",
        "readmit_backup_key",
        "pushgateway_password",
    },
}
NAMES = sorted({name for cls in CLASSES for name in cls.model_fields})
PARTS = (
    "bench",
    "dags",
    "expectations",
    "k8s",
    "locust",
    "readmit",
    "serving",
    "stack",
    "tour",
    "training",
    "ui",
)


def test_the_example_is_current():
    assert (ROOT / ".env.example").read_text() == example(), (
        "python -m readmit.settings > .env.example"
    )


def test_the_example_has_every_setting_once():
    listed = re.findall(r"^#([A-Z0-9_]+)=", example(), re.MULTILINE)
    assert sorted(listed) == sorted(variable(name) for name in NAMES)


@pytest.fixture(scope="module")
def read():
    """Every attribute and every text of our Python, with the passwords that roles log in with."""
    words = {f"{role}_password" for role in get_args(db.Role)}
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            words.update(re.findall(r"[.\"'](\w+)\b", path.read_text()))
    for identity in storage.IDENTITIES:
        words.update(name.lower() for name in storage.variables(identity))
    return words


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_read_by_something(read, name):
    assert name in read


def secret_fields(cls: type[Settings]) -> set[str]:
    names = set()
    for name, field in cls.model_fields.items():
        if "SecretStr" in str(field.annotation):
            names.add(name)
    return names


@pytest.mark.parametrize("cls", SECRETS)
def test_a_deployable_has_its_own_secrets_and_no_other(cls):
    assert secret_fields(cls) == SECRETS[cls]


def test_the_stack_has_every_secret_because_it_starts_every_part():
    assert secret_fields(StackSettings) >= set().union(*SECRETS.values())


@pytest.mark.parametrize("role", sorted({*get_args(db.Role)} - {"serving", "reader"}))
def test_a_process_cannot_log_in_as_the_role_of_another(role):
    settings = ServingSettings(**{f"{role}_password": "known"})
    with pytest.raises(LookupError, match=f"{role.upper()}_PASSWORD .* ServingSettings"):
        db.password(role, settings)


@pytest.mark.parametrize("identity", sorted({*storage.IDENTITIES} - {"api"}))
def test_a_process_cannot_use_the_identity_of_another(identity):
    names = storage.variables(identity)
    settings = ServingSettings(**{name.lower(): "known" for name in names})
    with pytest.raises(LookupError, match=f"{names[0]} .* ServingSettings"):
        storage.keys(identity, settings)


@pytest.mark.parametrize("command", ["rollback", "quality", "hyperparameter_search", "experiments"])
def test_a_command_says_in_one_line_which_setting_is_wrong(command, monkeypatch, capsys):
    monkeypatch.setenv("READMIT_POSTGRES_PORT", "five")
    assert import_module(f"training.{command}").main([]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(
        r"error: READMIT_POSTGRES_PORT: [^\n]+ \(got 'five'\); correct it [^\n]+\n", printed.err
    )


@pytest.mark.parametrize("hashes", [",", " , ", "abc", f"{'a' * 64},", f"{'a' * 63}g"])
def test_a_list_of_key_hashes_without_a_hash_stops_the_start(hashes, monkeypatch):
    monkeypatch.setenv("READMIT_API_KEY_HASHES", hashes)
    with pytest.raises(BadSetting, match="READMIT_API_KEY_HASHES"):
        ServingSettings()


@pytest.mark.parametrize("value", ["-1", "1000000000", "inf", "nan", "a week"])
@pytest.mark.parametrize(("settings_class", "name"), RETENTION)
def test_a_time_that_nothing_can_be_kept_for_is_refused(settings_class, name, value, monkeypatch):
    """A negative one would delete what is new; with a far too long one each night failed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=name):
        settings_class()
