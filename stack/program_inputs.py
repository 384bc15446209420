"""What a program reads by itself when it starts: its settings from `.env`, its code, its packages.

Its command line and environment say nothing of these. A digest of them stands in the supervisor's
configuration, so that `make up` restarts exactly the programs whose settings, secrets, code or
packages have changed.
"""

import hmac
import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import cast

from pydantic import SecretStr

from readmit.settings import ROOT, Settings

LOCK = ROOT / "requirements.lock"
PIPELINE_SETTINGS = (
    "readmit.settings:PipelineSettings",
    "training.training_settings:MonitorSettings",
)
PIPELINE_FOLDERS = ("dags", "expectations", "training", "readmit")
# By name, since the stack imports no part: the classes that each program's own code reads.
SETTINGS_OF = {
    "api": ("serving.api_settings:ServingSettings",),
    "ui": ("ui.form_settings:FormSettings",),
    "docs": ("readmit.settings:DocsSiteSettings",),
    "airflow-scheduler": PIPELINE_SETTINGS,
    "airflow-dag-processor": PIPELINE_SETTINGS,
    "mlflow": ("readmit.settings:ObjectStoreSettings",),
    "grafana": ("readmit.settings:ReaderLogin",),
}
FOLDERS_OF = {
    "api": ("serving", "readmit"),
    "ui": ("ui", "readmit"),
    "docs": ("readmit",),
    "airflow-scheduler": PIPELINE_FOLDERS,
    "airflow-dag-processor": PIPELINE_FOLDERS,
}
# `make up DATASET=...` names a file for one run: no program has to restart for it.
OF_ONE_RUN = {"dataset", "dataset_sha256"}
WITHOUT_PACKAGES = (
    "postgres",
    "s3",
    "prometheus",
    "pushgateway",
    "node-exporter",
    "postgres-exporter",
    "blackbox-exporter",
    "grafana",
)


def digest_of(name: str, key: str) -> str:
    """Return a digest of what a program reads by itself.

    Args:
        name: the program's.
        key: a secret, so that nobody can try out short passwords against the digest.
    """
    document = {
        "settings": [_values(address) for address in SETTINGS_OF.get(name, ())],
        "code": _digest_of_folders(FOLDERS_OF.get(name, ())),
        "packages": "" if name in WITHOUT_PACKAGES else _digest_of_files((LOCK,)),
    }
    text = json.dumps(document, sort_keys=True, default=str)
    return hmac.new(key.encode(), text.encode(), sha256).hexdigest()


def _values(address: str) -> dict[str, object]:
    """Return the settings of a class as they are now, secrets in clear."""
    module, _, name = address.partition(":")
    settings_class = cast(type[Settings], getattr(import_module(module), name))
    values = {}
    for field, value in settings_class().model_dump(exclude=OF_ONE_RUN).items():
        values[field] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return values


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
