"""What each program reads: its settings and secrets, its code, its packages.

A program's environment holds the settings that it reads and no others, so that a fault of the web
form shows no password of the superuser. A digest of all that a program reads stands in the
supervisor's configuration, so that `make up` restarts exactly the programs whose settings, secrets,
code or packages have changed.
"""

import hmac
import json
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from readmit import storage
from readmit.settings import ROOT, StackSettings, class_at, variable

LOCK = ROOT / "requirements.lock"
PIPELINE_SETTINGS = (
    "readmit.settings:PipelineSettings",
    "training.training_settings:MonitorSettings",
)
PIPELINE_FOLDERS = ("dags", "expectations", "training", "readmit")
# By name, since the stack imports no part: the classes that each program's own code reads. The
# scheduler runs the tasks, dbt's too.
SETTINGS_OF = {
    "api": ("serving.api_settings:ServingSettings",),
    "ui": ("ui.form_settings:FormSettings",),
    "docs": ("readmit.settings:DocsSiteSettings",),
    "notebook": ("training.training_settings:NotebookSettings",),
    "airflow-scheduler": (
        *PIPELINE_SETTINGS,
        "readmit.settings:TransformerLogin",
        "readmit.settings:RetentionSettings",
        "readmit.settings:ArchiveSettings",
    ),
    "airflow-dag-processor": PIPELINE_SETTINGS,
    # The tasks of dbt's models may end there, and are reported.
    "airflow-triggerer": ("readmit.settings:PushgatewaySettings",),
    "grafana": ("readmit.settings:ReaderLogin",),
    "clock": (
        "readmit.settings:ClockSettings",
        "readmit.settings:TrainingRetentionSettings",
    ),
}
# Settings that reach a program in a file of its own, not by its environment.
SETTINGS_IN_FILES = {
    "s3": tuple(f"readmit.settings:{name.capitalize()}Store" for name in storage.IDENTITIES),
    "alertmanager": ("readmit.settings:AlertSettings",),
}
# It reads the DAG files, which take schedules from the settings, and runs no task.
WITHOUT_SECRETS = {"airflow-dag-processor"}
FOLDERS_OF = {
    "api": ("serving", "readmit"),
    "ui": ("ui", "readmit"),
    "docs": ("readmit",),
    "airflow-scheduler": PIPELINE_FOLDERS,
    "airflow-dag-processor": PIPELINE_FOLDERS,
    "airflow-triggerer": ("dags", "readmit"),
    "watchdog": ("stack",),
    "clock": ("stack", "readmit"),
}
# `make up DATASET=...` names a file for one run: no program has to restart for it.
OF_ONE_RUN = ("READMIT_DATASET", "READMIT_DATASET_SHA256")
WITHOUT_PACKAGES = (
    "api-socket",  # it must hold the port while the API is replaced
    "postgres",
    "s3",
    "prometheus",
    "pushgateway",
    "node-exporter",
    "postgres-exporter",
    "blackbox-exporter",
    "alertmanager",
    "grafana",
    "login-proxy",
)


def settings_of(name: str, settings: StackSettings) -> dict[str, str]:
    """Return the settings that a program reads, by variable, secrets in clear.

    Args:
        name: the program's.
        settings: the stack's; the settings that only one part has are read from the environment.
    """
    addresses = SETTINGS_OF.get(name, ())
    variables = _variables(addresses, settings, with_secrets=name not in WITHOUT_SECRETS)
    if name in WITHOUT_SECRETS:
        # Airflow has it report the end of tasks that were killed.
        variables |= _variables(("readmit.settings:PushgatewaySettings",), settings)
    return variables


def _variables(
    addresses: Iterable[str], settings: StackSettings, with_secrets: bool = True
) -> dict[str, str]:
    variables = {}
    for address in addresses:
        for field, value in class_at(address)().model_dump().items():
            setting = getattr(settings, field, value)
            is_secret = isinstance(setting, SecretStr) or field.endswith("_access_key_id")
            if setting is None or (is_secret and not with_secrets):
                continue
            if isinstance(setting, SecretStr):
                setting = setting.get_secret_value()
            variables[variable(field)] = str(setting)
    return variables


def digest_of(name: str, settings: StackSettings, key: str) -> str:
    """Return a digest of what a program reads.

    Args:
        name: the program's.
        settings: the stack's.
        key: a secret, so that nobody can try out short passwords against the digest.
    """
    variables = settings_of(name, settings)
    variables |= _variables(SETTINGS_IN_FILES.get(name, ()), settings)
    for name_of_run in OF_ONE_RUN:
        variables.pop(name_of_run, None)
    document = {
        "settings": variables,
        "code": _digest_of_folders(FOLDERS_OF.get(name, ())),
        "packages": "" if name in WITHOUT_PACKAGES else _digest_of_files((LOCK,)),
    }
    text = json.dumps(document, sort_keys=True)
    return hmac.new(key.encode(), text.encode(), sha256).hexdigest()


@cache
def _digest_of_folders(folders: Sequence[str]) -> str:
    files: list[Path] = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append(path)
    return _digest_of_files(tuple(files))


@cache
def _digest_of_files(files: Sequence[Path]) -> str:
    digest = sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
