"""Settings: one frozen class per deployable, read from the environment and from `.env` (the environment wins).

`.env.example` is generated from these classes: `python -m readmit.settings`. The file that is read is `.env` at the
root of the repository, or the one that READMIT_ENV_FILE names.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ROOT = Path(__file__).resolve().parents[1]

Port = Annotated[int, Field(ge=1024, le=65535)]


class BadSetting(Exception):
    """A setting cannot be used; the message names each variable and what is wrong with it."""


def env_file() -> Path:
    """Return the path of the file that settings are read from."""
    return Path(os.environ.get("READMIT_ENV_FILE") or ROOT / ".env")


def not_text(error: UnicodeDecodeError) -> BadSetting:
    """Return what to say of an env file in another encoding."""
    return BadSetting(f"{env_file()}: byte {error.start + 1} is not UTF-8; save the file as UTF-8")


def _local(port_field: str) -> Callable[[dict[str, Any]], str]:
    """Return a default that points at a port of this machine, as another setting names it."""
    return lambda known: f"http://127.0.0.1:{known.get(port_field, 0)}"


class Settings(BaseSettings):
    """What several parts share: where the databases, the object store, the registry and the API are."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, case_sensitive=False
    )

    dataset: str | None = Field(
        default=None,
        description="CSV or zip of the source data, as path or URL; empty: UCI's archive",
    )
    dataset_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="refuse the file when its sha256 (or its CSV's) is another",
    )
    batch_size: int = Field(
        default=15_000, ge=1, le=10_000_000, description="rows in a training batch"
    )
    model_name: str = Field(
        default="readmission",
        min_length=1,
        description="registered model that is trained and served",
    )
    readmit_home: Path = Field(
        default=ROOT / ".stack", description="folder for the state of the one-machine stack"
    )

    postgres_host: str = Field(default="127.0.0.1", description="Postgres server")
    postgres_port: Port = Field(default=5433, description="port of Postgres")
    raw_database: str = Field(default="raw", description="database of the data as it arrived")
    clean_database: str = Field(
        default="clean", description="database of what dbt builds, and of operations"
    )
    postgres_password: SecretStr | None = Field(
        default=None, description="superuser; used for the set-up only"
    )
    loader_password: SecretStr | None = Field(default=None, description="writes RAW and its ledger")
    transformer_password: SecretStr | None = Field(
        default=None, description="dbt: reads RAW, owns the clean schemas"
    )
    publisher_password: SecretStr | None = Field(
        default=None, description="writes ops; releases from quarantine"
    )
    trainer_password: SecretStr | None = Field(default=None, description="reads the marts")
    serving_password: SecretStr | None = Field(
        default=None, description="appends predictions, reads patient history"
    )
    reader_password: SecretStr | None = Field(
        default=None, description="reads marts, quarantine, ops and the ledger"
    )
    mlflow_password: SecretStr | None = Field(default=None, description="owns MLflow's database")
    airflow_password: SecretStr | None = Field(default=None, description="owns Airflow's database")

    s3_port: Port = Field(
        default=8333,
        description="port of the object store; it uses the next three, and each plus 10000",
    )
    s3_metrics_port: Port = Field(
        default=9327, description="port of the object store's figures for Prometheus"
    )
    s3_endpoint_url: str = Field(
        default_factory=_local("s3_port"), description="address of the object store"
    )
    aws_access_key_id: str = Field(default="readmit", description="access key of the object store")
    aws_secret_access_key: SecretStr = Field(
        default=SecretStr(""), description="secret key of the object store"
    )
    s3_mlflow_bucket: str = Field(default="mlflow", description="bucket of MLflow's artifacts")
    s3_pipeline_bucket: str = Field(
        default="pipeline", description="bucket of source files, snapshots, docs, logs and backups"
    )

    mlflow_port: Port = Field(default=5000, description="port of MLflow")
    mlflow_tracking_uri: str = Field(
        default_factory=_local("mlflow_port"), description="address of MLflow"
    )
    mlflow_tracking_username: str | None = Field(
        default=None, description="log-in of MLflow, when it asks for one"
    )
    mlflow_tracking_password: SecretStr | None = Field(
        default=None, description="password of that log-in"
    )
    api_port: Port = Field(default=8000, description="port of the prediction API")
    api_url: str = Field(
        default_factory=_local("api_port"), description="address of the prediction API"
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="key that the web form and Locust send to the API, if API_KEY_HASHES asks for one",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://.*\{part\}",
        description="how browsers reach a page, {part} being api, airflow, mlflow, docs or grafana; empty: ports",
    )
    ui_port: Port = Field(default=8501, description="port of the web form")
    docs_port: Port = Field(default=8088, description="port of the docs site")
    airflow_port: Port = Field(default=8080, description="port of Airflow")
    prometheus_port: Port = Field(default=9090, description="port of Prometheus")
    pushgateway_port: Port = Field(default=9091, description="port of the Pushgateway")
    pushgateway_url: str | None = Field(
        default=None,
        description="address of the Pushgateway; empty: `make up` sets it when one is installed",
    )
    node_exporter_port: Port = Field(default=9100, description="port of the node exporter")
    postgres_exporter_port: Port = Field(default=9187, description="port of the Postgres exporter")
    blackbox_exporter_port: Port = Field(
        default=9115, description="port of the exporter of health checks"
    )
    grafana_port: Port = Field(default=3000, description="port of Grafana")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (whatever the fields take)
        """Read the settings.

        Raises:
            BadSetting: a value cannot be used; the message names the variable, never a secret.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BadSetting(_explain(error)) from None
        except UnicodeDecodeError as error:
            raise not_text(error) from None

    @field_validator("dataset")
    @classmethod
    def _absolute_dataset(cls, value: str | None) -> str | None:
        """A relative path means the same file for every process, whatever folder it runs in."""
        if value is None or "://" in value:
            return value
        return os.path.abspath(ROOT / os.path.expanduser(value))

    @field_validator("readmit_home")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return Path(os.path.realpath(ROOT / os.path.expanduser(value)))

    def page(self, part: str, host: str = "127.0.0.1") -> str:
        """Return where browsers find a part, as PUBLIC_URL names them: there, or at a port of `host`."""
        if self.public_url:
            return self.public_url.format(part=part).rstrip("/")
        return f"http://{host}:{getattr(self, f'{part}_port')}"

    def mlflow_login(self) -> tuple[str, str] | None:
        """Return name and password for MLflow, or None when it asks for neither."""
        if self.mlflow_tracking_username is None or self.mlflow_tracking_password is None:
            return None
        return self.mlflow_tracking_username, self.mlflow_tracking_password.get_secret_value()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look for `.env` when settings are made, not when this module is imported."""
        file = DotEnvSettingsSource(settings_cls, env_file=env_file(), env_file_encoding="utf-8")
        return init_settings, env_settings, file


class PipelineSettings(Settings):
    """Airflow's DAGs."""

    ingest_schedule: str | None = Field(
        default="@hourly",
        description="when ingest_batch looks for batches: a cron line or a preset",
    )
    monitor_schedule: str | None = Field(
        default="@daily",
        description="when monitor_model looks for drift and late labels: a cron line or a preset",
    )
    drift_triggers_training: bool = Field(
        default=False,
        description="let drift start a training run (docs/monitoring.md says when that helps)",
    )


class StackSettings(PipelineSettings):
    """The one-machine stack."""

    airflow_admin_password: SecretStr | None = Field(
        default=None, description="password of `admin` on Airflow's web page"
    )
    airflow_fernet_key: SecretStr | None = Field(
        default=None, description="encrypts Airflow's stored connections"
    )
    airflow_jwt_secret: SecretStr | None = Field(
        default=None, description="signs the tokens of Airflow's parts"
    )
    airflow_secret_key: SecretStr | None = Field(
        default=None, description="signs the sessions of Airflow's web page"
    )
    grafana_admin_password: SecretStr | None = Field(
        default=None, description="password of `admin` on Grafana's web page"
    )
    airflow_parallelism: int = Field(
        default=4, ge=1, le=64, description="Airflow tasks at once; each takes about 220 MB"
    )


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=True, include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "?"
        if problem["type"] == "default_factory_not_called":
            continue
        is_secret = name.endswith(("_password", "_key", "_secret"))
        got = "" if is_secret else f" (got {problem['input']!r})"
        lines.append(
            f"{name.upper()}: {problem['msg']}{got}; correct it in the environment or in {env_file()}"
        )
    return "\n".join(lines)


# By name: the classes of other parts are looked up when the example is written, and only then.
SECTIONS = (
    ("Shared by all parts", "readmit.settings:Settings"),
    ("Pipeline", "readmit.settings:PipelineSettings"),
    ("One-machine stack", "readmit.settings:StackSettings"),
    ("Prediction API", "serving.api_settings:ServingSettings"),
    ("Training", "training.training_settings:TrainingSettings"),
    ("Monitor", "training.training_settings:MonitorSettings"),
)
GENERATED = "generated by `make up`"
CHOSEN = ("api_key", "mlflow_tracking_password")  # secrets that users choose


def example() -> str:
    """Return the text of `.env.example`: every variable, what it means and its default."""
    lines = [
        "# Every setting, with its default. Generated: python -m readmit.settings > .env.example",
        "# `make up` writes .env with generated passwords. To change a default, add its line, without the #, to .env.",
    ]
    seen: set[str] = set()
    for title, address in SECTIONS:
        lines += ["", f"# ---- {title}"]
        for name, field in _class_at(address).model_fields.items():
            if name not in seen:
                seen.add(name)
                lines.append(f"# {field.description}")
                lines.append(
                    f"#{name.upper()}={_shown(name, field.default, field.default_factory)}".rstrip()
                )
    return "\n".join(lines) + "\n"


def _class_at(address: str) -> type[Settings]:
    module, _, name = address.partition(":")
    return cast(type[Settings], getattr(import_module(module), name))


def _shown(name: str, default: object, factory: Any) -> str:  # noqa: ANN401 (pydantic has two kinds)
    if factory is not None:
        ports = {
            field: info.default
            for field, info in Settings.model_fields.items()
            if field.endswith("_port")
        }
        return str(factory(ports))
    if default is None or isinstance(default, SecretStr):
        return (
            GENERATED
            if name.endswith(("_password", "_key", "_secret")) and name not in CHOSEN
            else ""
        )
    if isinstance(default, Path):
        return str(default.relative_to(ROOT))
    return str(default)


if __name__ == "__main__":
    sys.stdout.write(example())
