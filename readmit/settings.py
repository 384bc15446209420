"""Settings, read from the environment and from `.env`; the environment wins.

Each variable begins with READMIT_, so that nothing that another project exports is a setting.
`.env` may also have the names without the prefix, as releases before 0.2.0 wrote them; the
environment may not.

Each deployable has one frozen settings class, made of the groups in this file. A process has only
the fields that it uses: the password of the loader is no field of the web form.

`.env.example` is generated from these classes: `python -m readmit.settings`. The file that is read
is `.env` at the root of the repository, or the file that READMIT_ENV_FILE names.
"""

import ipaddress
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ROOT = Path(__file__).resolve().parents[1]

# What the variable of every setting begins with.
PREFIX = "READMIT_"
# MLflow's user for the prediction API.
MLFLOW_READER = "api"
# MLflow's user for notebooks: it changes what it has created itself, and reads the rest.
MLFLOW_NOTEBOOK = "notebook"
# Who pushes gauges, when the Pushgateway asks.
PUSHGATEWAY_USER = "readmit"
MAX_DAYS = 36_500  # a hundred years: times before a year 1 cannot be reckoned with
Port = Annotated[int, Field(ge=1024, le=65535)]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def variable(name: str) -> str:
    """Return the environment variable of a setting, by its field or by its name of before 0.2.0."""
    name = name.upper()
    if name.startswith(PREFIX):
        return name
    return PREFIX + name


class BadSetting(Exception):
    """A setting cannot be used; the message names each bad variable and its problem."""


def env_file() -> Path:
    """Return the path of the file that settings are read from."""
    return Path(os.environ.get("READMIT_ENV_FILE") or ROOT / ".env")


def not_text(error: UnicodeDecodeError) -> BadSetting:
    """Return the error for an env file in another encoding."""
    return BadSetting(f"{env_file()}: byte {error.start + 1} is not UTF-8; save the file as UTF-8")


def _local_url(port_field: str) -> Callable[[dict[str, Any]], str]:
    """Return a default factory for an address on this machine; another field has its port."""

    def url(fields: dict[str, Any]) -> str:
        # A port that could not be read has no entry; pydantic reports it by itself.
        return f"http://127.0.0.1:{fields.get(port_field, 0)}"

    return url


class Settings(BaseSettings):
    """How settings are read. This class has no fields; groups and deployables below have them."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_prefix=PREFIX,
        env_ignore_empty=True,
        case_sensitive=False,
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 (whatever the fields take)
        """Read the settings.

        Raises:
            BadSetting: a value cannot be used; the message names the variable, never a secret.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            lines = []
            for problem in error.errors(include_input=True, include_url=False):
                if problem["type"] == "default_factory_not_called":
                    continue
                name = str(problem["loc"][0]) if problem["loc"] else "?"
                line = f"{variable(name)}: {problem['msg']}"
                if not _is_secret(name):
                    line += f" (got {problem['input']!r})"
                lines.append(f"{line}; correct it in the environment or in {env_file()}")
            raise BadSetting("\n".join(lines)) from None
        except UnicodeDecodeError as error:
            raise not_text(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look for `.env` when settings are created, not when this module is imported."""
        # Without the filter pydantic compares each name of the file with each field, for extra
        # fields, which these settings ignore.
        source = partial(
            DotEnvSettingsSource,
            settings_cls,
            env_file=env_file(),
            env_file_encoding="utf-8",
            dotenv_filtering="only_existing",
        )
        file = source()
        old_names = source(env_prefix="")  # the names of before 0.2.0 have no prefix
        return init_settings, env_settings, file, old_names


# ---------------------------------------------------------------- groups of fields


class HomeSettings(Settings):
    """The folder for state."""

    # An alias gets no prefix: this name has it already.
    readmit_home: Path = Field(
        default=ROOT / ".stack",
        validation_alias="readmit_home",
        description="folder for the state of the one-machine stack",
    )

    @field_validator("readmit_home")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return Path(os.path.realpath(ROOT / os.path.expanduser(value)))


class SourceSettings(Settings):
    """The source file, and how it is cut into batches."""

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
    min_free_mb: int = Field(
        default=1_000,
        ge=0,
        description="megabytes of disk that intake leaves free; with less it takes nothing in",
    )

    inbox: Path | None = Field(
        default=None,
        description="folder of this machine: the next run submits each file that is put there",
    )

    @field_validator("dataset", "inbox", mode="before")
    @classmethod
    def _absolute_path(cls, value: str | Path | None) -> str | None:
        """Make a path absolute: it then means the same file in every process."""
        if value is None:
            return None
        if "://" in str(value):
            return str(value)
        return os.path.abspath(ROOT / os.path.expanduser(value))


class DatabaseSettings(Settings):
    """The Postgres server and the two databases of the project."""

    postgres_host: str = Field(default="127.0.0.1", description="Postgres server")
    postgres_port: Port = Field(default=5433, description="port of Postgres")
    pgsslmode: SslMode | None = Field(
        default=None,
        description="TLS to Postgres; verify-full for a server on another machine. empty: libpq's",
    )
    pgsslrootcert: Path | None = Field(
        default=None, description="file with the authority of that server's certificate"
    )
    raw_database: str = Field(default="raw", description="database of the data as it arrived")
    clean_database: str = Field(
        default="clean", description="database of what dbt builds, and of operations"
    )


# One class per role: a process has the passwords of the roles that it logs in as, and no other.


class SuperuserLogin(DatabaseSettings):
    """The role `postgres`."""

    postgres_password: SecretStr | None = Field(
        default=None, description="superuser; used for the set-up only"
    )


class LoaderLogin(DatabaseSettings):
    """The role `loader`."""

    loader_password: SecretStr | None = Field(default=None, description="writes RAW and its ledger")


class TransformerLogin(DatabaseSettings):
    """The role `transformer`."""

    transformer_password: SecretStr | None = Field(
        default=None, description="dbt: reads RAW, owns the clean schemas"
    )


class PublisherLogin(DatabaseSettings):
    """The role `publisher`."""

    publisher_password: SecretStr | None = Field(
        default=None, description="writes ops; releases from quarantine"
    )


class TrainerLogin(DatabaseSettings):
    """The role `trainer`."""

    trainer_password: SecretStr | None = Field(default=None, description="reads the marts")


class ServingLogin(DatabaseSettings):
    """The role `serving`."""

    serving_password: SecretStr | None = Field(
        default=None, description="appends predictions, reads patient history"
    )


class ReaderLogin(DatabaseSettings):
    """The role `reader`."""

    reader_password: SecretStr | None = Field(
        default=None, description="reads marts, quarantine, ops and the ledger"
    )


class MlflowLogin(DatabaseSettings):
    """The role `mlflow`."""

    mlflow_password: SecretStr | None = Field(default=None, description="owns MLflow's database")


class AirflowLogin(DatabaseSettings):
    """The role `airflow`."""

    airflow_password: SecretStr | None = Field(default=None, description="owns Airflow's database")


class ErasureKey(Settings):
    """The key by which intake recognises patients who were erased."""

    erasure_key: SecretStr | None = Field(
        default=None,
        description="hashes the numbers of erased patients; never change it after an erasure",
    )


class ObjectStoreSettings(Settings):
    """The object store and its two buckets."""

    s3_port: Port = Field(
        default=8333,
        description="port of the object store; it uses the next three, and each plus 10000",
    )
    s3_endpoint_url: str = Field(
        default_factory=_local_url("s3_port"), description="address of the object store"
    )
    s3_ca_file: Path | None = Field(
        default=None,
        description="file with the authority of its certificate; empty: public authorities",
    )
    s3_mlflow_bucket: str = Field(default="mlflow", description="bucket of MLflow's artifacts")
    s3_pipeline_bucket: str = Field(
        default="pipeline", description="bucket of source files, snapshots, docs, logs and backups"
    )


# One class per identity of the object store, as for the database roles.


class AdminStore(ObjectStoreSettings):
    """The identity that may do everything."""

    aws_access_key_id: str = Field(
        default="readmit", description="access key of the object store's admin"
    )
    aws_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; used for the set-up and to restore only"
    )


class LoaderStore(ObjectStoreSettings):
    """The identity `loader`."""

    s3_loader_access_key_id: str | None = Field(
        default=None, description="access key of source files and batches"
    )
    s3_loader_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; reads inbox/, keeps source/ and received/"
    )


class GatesStore(ObjectStoreSettings):
    """The identity `gates`."""

    s3_gates_access_key_id: str | None = Field(
        default=None, description="access key of the gates and the pages of jobs"
    )
    s3_gates_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; writes docs/, keeps profiles/"
    )


class DocsStore(ObjectStoreSettings):
    """The identity `docs`."""

    s3_docs_access_key_id: str | None = Field(
        default=None, description="access key of the docs site"
    )
    s3_docs_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; reads docs/"
    )


class TrainerStore(ObjectStoreSettings):
    """The identity `trainer`."""

    s3_trainer_access_key_id: str | None = Field(default=None, description="access key of training")
    s3_trainer_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; keeps models and snapshots/"
    )


class ApiStore(ObjectStoreSettings):
    """The identity `api`."""

    s3_api_access_key_id: str | None = Field(
        default=None, description="access key of the prediction API"
    )
    s3_api_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; reads models, creates in inbox/"
    )


class MlflowStore(ObjectStoreSettings):
    """The identity `mlflow`."""

    s3_mlflow_access_key_id: str | None = Field(
        default=None, description="access key of MLflow's web page"
    )
    s3_mlflow_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; reads models"
    )


class LogsStore(ObjectStoreSettings):
    """The identity `logs`."""

    s3_logs_access_key_id: str | None = Field(default=None, description="access key of Airflow")
    s3_logs_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; keeps logs/"
    )


class BackupStore(ObjectStoreSettings):
    """The identity `backup`."""

    s3_backup_access_key_id: str | None = Field(default=None, description="access key of backups")
    s3_backup_secret_access_key: SecretStr | None = Field(
        default=None, description="its secret key; reads everything"
    )


class RegistryAddress(Settings):
    """MLflow and the registered model, without a log-in."""

    mlflow_port: Port = Field(default=5000, description="port of MLflow")
    mlflow_tracking_uri: str = Field(
        default_factory=_local_url("mlflow_port"), description="address of MLflow"
    )
    model_name: str = Field(
        default="readmission",
        min_length=1,
        description="registered model that is trained and served",
    )


class RegistrySettings(RegistryAddress):
    """MLflow with the log-in of who may change everything: training, and people."""

    mlflow_tracking_username: str = Field(default="admin", description="log-in of MLflow")
    mlflow_tracking_password: SecretStr | None = Field(
        default=None, description="password of that log-in, which may change everything"
    )

    def mlflow_login(self) -> tuple[str, str] | None:
        """Return name and password for MLflow, or None when no password is set."""
        if self.mlflow_tracking_password is None:
            return None
        return self.mlflow_tracking_username, self.mlflow_tracking_password.get_secret_value()


class RegistryReaderSettings(RegistryAddress):
    """MLflow with the log-in of the prediction API, which may only read."""

    mlflow_api_password: SecretStr | None = Field(
        default=None, description="password of MLflow's user `api`, which may only read"
    )

    def mlflow_login(self) -> tuple[str, str] | None:
        """Return name and password for MLflow, or None when no password is set."""
        if self.mlflow_api_password is None:
            return None
        return MLFLOW_READER, self.mlflow_api_password.get_secret_value()


class RegistryUsersSettings(MlflowLogin, RegistrySettings, RegistryReaderSettings):
    """The set-up of MLflow's users: its database, and the password of each user."""

    mlflow_notebook_password: SecretStr | None = Field(
        default=None,
        description="password of MLflow's user `notebook`: its own experiments; reads the rest",
    )


class ModelVerification(Settings):
    """The key that tells whether a model is the one that was promoted."""

    model_public_key: str | None = Field(
        default=None,
        description="ed25519 keys that verify promoted models, by comma: today's, then those of"
        " before `make rotate` that still hold",
    )


class ModelSigning(ModelVerification):
    """The key that signs what is promoted; only training, roll-back and adoption have it."""

    model_signing_key: SecretStr | None = Field(
        default=None, description="ed25519 key that signs promoted models"
    )


class ApiAddress(Settings):
    """The prediction API, without a key."""

    api_port: Port = Field(default=8000, description="port of the prediction API")
    api_url: str = Field(
        default_factory=_local_url("api_port"), description="address of the prediction API"
    )


class ApiClientSettings(ApiAddress):
    """The prediction API and the key that its clients send."""

    api_key: SecretStr | None = Field(
        default=None,
        description="key that the web form and Locust send to the API, if READMIT_API_KEYS has one",
    )


class DocsAddress(Settings):
    """The docs site."""

    docs_port: Port = Field(default=8088, description="port of the docs site")


class PageSettings(RegistryAddress, ApiAddress, DocsAddress):
    """Where browsers find the web pages of the other parts."""

    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://.*\{part\}",
        description="address of a page for browsers; {part} is api, airflow, mlflow, docs or"
        " grafana; empty: ports",
    )
    airflow_port: Port = Field(default=8080, description="port of Airflow")
    grafana_port: Port = Field(default=3000, description="port of Grafana")

    def page(self, part: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return a part's address for browsers: as READMIT_PUBLIC_URL says, or a port of `host`."""
        if self.public_url:
            return self.public_url.format(part=part).rstrip("/")
        return f"{scheme}://{host}:{getattr(self, f'{part}_port')}"


class PushgatewaySettings(Settings):
    """The Pushgateway, which jobs push their gauges to."""

    pushgateway_url: str | None = Field(
        default=None,
        description="address of the Pushgateway; empty: `make up` sets it when one is installed",
    )
    pushgateway_password: SecretStr | None = Field(
        default=None, description="password of `readmit` at the Pushgateway"
    )

    def pushgateway_login(self) -> tuple[str, str] | None:
        """Return name and password for the Pushgateway, or None when no password is set."""
        if self.pushgateway_password is None:
            return None
        return PUSHGATEWAY_USER, self.pushgateway_password.get_secret_value()


# ---------------------------------------------------------------- deployables


class AlertSettings(Settings):
    """Who gets the alerts: a webhook, a mail address, or nobody."""

    alert_webhook_url: SecretStr | None = Field(
        default=None,
        description="address that Alertmanager posts alerts to, as JSON; empty: none",
    )
    alert_email_to: str | None = Field(
        default=None, description="mail address that gets alerts; empty: none"
    )
    alert_email_from: str = Field(default="readmit@localhost", description="sender of these mails")
    alert_smtp_address: str | None = Field(
        default=None, pattern=r"^\S+:\d+$", description="mail server, as host:port"
    )
    alert_smtp_user: str | None = Field(default=None, description="log-in at the mail server")
    alert_smtp_password: SecretStr | None = Field(default=None, description="its password")
    alert_smtp_tls: bool = Field(
        default=True, description="refuse to send mail without TLS (STARTTLS)"
    )


class JobSettings(PublisherLogin, ReaderLogin, GatesStore, PushgatewaySettings, HomeSettings):
    """What jobs of the pipeline and of training share."""


class PipelineSettings(
    LoaderLogin,
    TransformerLogin,
    LoaderStore,
    JobSettings,
    PageSettings,
    SourceSettings,
    ErasureKey,
):
    """Airflow's DAGs of the data, and the commands that do the same by hand.

    dbt takes its password from the environment (`profiles.yml`); what it has built is counted and
    checked with its log-in too.
    """

    ingest_schedule: str | None = Field(
        default="@hourly",
        description="when ingest_batch looks for batches: a cron line or a preset",
    )
    monitor_schedule: str | None = Field(
        default="@daily",
        description="when monitor_model looks for drift and late labels: a cron line or a preset",
    )
    training_schedule: str = Field(
        default="0 3 * * 0",
        description="when train_model trains although nothing new was published: a cron line or a"
        " preset, in UTC (docs/rolling-origin.md says what a later training costs)",
    )
    drift_triggers_training: bool = Field(
        default=False,
        description="let drift start a training run (docs/monitoring.md says when that helps)",
    )


class BackupSettings(SuperuserLogin, BackupStore, PushgatewaySettings):
    """What a backup reads with, and how it is kept."""

    readmit_backup_key: SecretStr | None = Field(
        validation_alias="readmit_backup_key",
        default=None,
        description="32 bytes in base64 that encrypt backups (`openssl rand -base64 32`); empty:"
        " they are not encrypted",
    )
    readmit_backup_keep: int = Field(
        validation_alias="readmit_backup_keep",
        default=7,
        ge=1,
        le=10_000,
        description="how many backups are kept",
    )


class RunRetentionSettings(Settings):
    """How long Airflow keeps what it knows of a run."""

    readmit_run_retention_days: int = Field(
        validation_alias="readmit_run_retention_days",
        default=180,
        ge=7,
        le=MAX_DAYS,
        description="days that Airflow's tables and local log files keep of a run",
    )


class ClockSettings(BackupSettings, RunRetentionSettings, HomeSettings):
    """What runs by the clock of the one-machine stack."""

    readmit_backup_folder: Path | None = Field(
        validation_alias="readmit_backup_folder",
        default=None,
        description="folder of the backups, best on another disk; empty: beside READMIT_HOME",
    )
    readmit_backup_every: float = Field(
        validation_alias="readmit_backup_every",
        default=24,
        ge=0,
        le=24 * MAX_DAYS,
        description="hours between two backups, which is what a loss may cost; there is one each"
        " night in any case. 0: none by themselves",
    )

    readmit_backup_before_upgrade: bool = Field(
        validation_alias="readmit_backup_before_upgrade",
        default=True,
        description="let `make up` make a backup before it changes tables that hold data",
    )

    def backup_folder(self) -> Path:
        """Return the folder of the backups."""
        if self.readmit_backup_folder is None:
            return self.readmit_home.with_name(f"{self.readmit_home.name}-backups")
        return Path(os.path.realpath(ROOT / os.path.expanduser(self.readmit_backup_folder)))


class OperationsSettings(
    BackupSettings,
    LoaderLogin,
    TransformerLogin,
    PublisherLogin,
    TrainerLogin,
    ServingLogin,
    ReaderLogin,
    MlflowLogin,
    AirflowLogin,
    AdminStore,
    MlflowStore,
):
    """Set-up, backup and waiting for services: it creates every role, so it has every password."""


class DocsSiteSettings(DocsAddress, DocsStore):
    """The server of the docs site, which reads its pages from the object store."""

    docs_allowed_hosts: str = Field(
        default="",
        description="names that the docs site is reached by, by comma, beside localhost and IP"
        " addresses",
    )


class StackSettings(
    PipelineSettings,
    OperationsSettings,
    ClockSettings,
    DocsStore,
    TrainerStore,
    ApiStore,
    LogsStore,
    RegistryUsersSettings,
    ApiClientSettings,
    ModelSigning,
    AlertSettings,
):
    """The one-machine stack, which starts every part and writes their settings."""

    s3_metrics_port: Port = Field(
        default=9327, description="port of the object store's figures for Prometheus"
    )
    ui_port: Port = Field(default=8501, description="port of the web form")
    notebook_port: Port = Field(
        default=8888, description="port of JupyterLab, which `make notebook` starts"
    )
    notebook_token: SecretStr | None = Field(
        default=None, description="log-in token of JupyterLab, which may read CLEAN DATA"
    )
    prometheus_port: Port = Field(default=9090, description="port of Prometheus")
    pushgateway_port: Port = Field(default=9091, description="port of the Pushgateway")
    node_exporter_port: Port = Field(default=9100, description="port of the node exporter")
    postgres_exporter_port: Port = Field(default=9187, description="port of the Postgres exporter")
    blackbox_exporter_port: Port = Field(
        default=9115, description="port of the exporter of health checks"
    )
    alertmanager_port: Port = Field(default=9093, description="port of Alertmanager")
    monitoring_password: SecretStr | None = Field(
        default=None, description="password of `readmit` at Alertmanager and the exporters"
    )
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
    mlflow_flask_server_secret_key: SecretStr | None = Field(
        default=None, description="signs the sessions of MLflow's web page"
    )
    grafana_admin_password: SecretStr | None = Field(
        default=None, description="password of `admin` on Grafana's web page"
    )
    readmit_listen_address: str = Field(
        default="127.0.0.1",
        validation_alias="readmit_listen_address",
        description="address on which the pages are open; another than loopback starts the log-in"
        " proxy there",
    )
    proxy_port: int = Field(
        default=8443,
        ge=1024,
        le=65528,
        description="first of the proxy's eight ports: form, API, docs, Airflow, MLflow, Grafana,"
        " Prometheus, health",
    )
    proxy_password: SecretStr | None = Field(
        default=None, description="password of `readmit` at the log-in proxy"
    )
    proxy_certificate_file: Path | None = Field(
        default=None, description="the proxy's TLS certificate (PEM); empty: a self-signed one"
    )
    proxy_key_file: Path | None = Field(
        default=None, description="the private key of that certificate"
    )
    patience_seconds: int = Field(
        default=20,
        ge=1,
        le=3600,
        description="seconds that commands wait for Airflow or MLflow while it does not answer;"
        " 300 with CONTEXT=",
    )
    monitoring: bool = Field(
        default=True,
        description="run Prometheus, its exporters, Alertmanager and Grafana, and fetch what is not"
        " installed",
    )
    monitoring_mirror: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address of a folder with the archives of stack/monitoring_releases.toml;"
        " empty: the projects' own",
    )
    airflow_parallelism: int = Field(
        default=4, ge=1, le=64, description="Airflow tasks at once; each takes about 220 MB"
    )

    @field_validator("readmit_listen_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(
                "is no IP address: name one of this machine, or 0.0.0.0 for all"
            ) from None


class RetentionSettings(LogsStore, GatesStore):
    """How long the DAG `housekeep` keeps what grows in the object store."""

    readmit_log_retention_days: int = Field(
        validation_alias="readmit_log_retention_days",
        default=90,
        ge=7,
        le=MAX_DAYS,
        description="days that logs of tasks are kept in the object store",
    )
    readmit_page_retention_days: int = Field(
        validation_alias="readmit_page_retention_days",
        default=730,
        ge=7,
        le=MAX_DAYS,
        description="days that pages of gates and drift are kept",
    )


class ArchiveSettings(PublisherLogin, GatesStore):
    """How long the DAG `housekeep` keeps predictions in Postgres, before they are archived."""

    readmit_prediction_retention_days: int = Field(
        validation_alias="readmit_prediction_retention_days",
        default=400,
        ge=62,
        le=MAX_DAYS,
        description="days that predictions stay in Postgres; older months are Parquet files in the"
        " object store",
    )


class TrainingRetentionSettings(MlflowLogin, TrainerStore):
    """How long MLflow keeps runs, and the object store snapshots, that no version names."""

    readmit_training_retention_days: int = Field(
        validation_alias="readmit_training_retention_days",
        default=400,
        ge=7,
        le=MAX_DAYS,
        description="days that runs of MLflow and snapshots are kept when no registered version"
        " names them",
    )
    readmit_mlflow_garbage_days: int = Field(
        validation_alias="readmit_mlflow_garbage_days",
        default=30,
        ge=1,
        le=MAX_DAYS,
        description="days in which a run that was deleted in MLflow can be restored",
    )


# ---------------------------------------------------------------- the example


def _is_secret(name: str) -> bool:
    return name.endswith(("_password", "_key", "_key_id", "_keys", "_secret", "_token"))


# By name: the classes of other parts are looked up when the example is written, and only then.
SECTIONS = (
    ("Source file", "readmit.settings:SourceSettings"),
    ("Databases", "readmit.settings:DatabaseSettings"),
    ("Object store", "readmit.settings:ObjectStoreSettings"),
    ("Identities of the object store", "readmit.settings:AdminStore"),
    ("", "readmit.settings:LoaderStore"),
    ("", "readmit.settings:GatesStore"),
    ("", "readmit.settings:DocsStore"),
    ("", "readmit.settings:TrainerStore"),
    ("", "readmit.settings:ApiStore"),
    ("", "readmit.settings:MlflowStore"),
    ("", "readmit.settings:LogsStore"),
    ("", "readmit.settings:BackupStore"),
    ("Pushgateway", "readmit.settings:PushgatewaySettings"),
    ("Backups", "readmit.settings:ClockSettings"),
    ("Passwords of the database roles", "readmit.settings:OperationsSettings"),
    ("Erasure of patients", "readmit.settings:ErasureKey"),
    ("MLflow", "readmit.settings:RegistryUsersSettings"),
    ("Signatures of models", "readmit.settings:ModelSigning"),
    ("Docs site", "readmit.settings:DocsSiteSettings"),
    ("Clients of the prediction API", "readmit.settings:ApiClientSettings"),
    ("Web pages", "readmit.settings:PageSettings"),
    ("Pipeline", "readmit.settings:PipelineSettings"),
    ("Alerts", "readmit.settings:AlertSettings"),
    ("Retention", "readmit.settings:RetentionSettings"),
    ("", "readmit.settings:ArchiveSettings"),
    ("", "readmit.settings:TrainingRetentionSettings"),
    ("One-machine stack", "readmit.settings:StackSettings"),
    ("Prediction API", "serving.api_settings:ServingSettings"),
    (
        "Training (costs and the promotion rule are each hospital's own)",
        "training.training_settings:TrainingSettings",
    ),
    ("Monitor", "training.training_settings:MonitorSettings"),
)


def all_names() -> set[str]:
    """Return the name of every setting of every part, as its variable is written."""
    names: set[str] = set()
    for _, address in SECTIONS:
        names |= {variable(name) for name in class_at(address).model_fields}
    return names


def old_names() -> dict[str, str]:
    """Return the variable of each setting by its name of before 0.2.0, which had no prefix."""
    variables = {}
    for _, address in SECTIONS:
        for name in class_at(address).model_fields:
            if name.upper() != variable(name):
                variables[name.upper()] = variable(name)
    return variables


GENERATED = "generated by `make up`"
CHOSEN = ("api_key", "alert_smtp_password", "readmit_backup_key")  # secrets that users choose


def example() -> str:
    """Return the text of `.env.example`: every variable, what it means and its default."""
    lines = [
        "# Every setting, with its default. Generated: python -m readmit.settings > .env.example",
        "# `make up` writes .env with generated passwords."
        " To change a default, add its line, without the #, to .env.",
    ]
    listed: set[str] = set()
    for title, address in SECTIONS:
        if title:
            lines += ["", f"# ---- {title}"]
        fields = class_at(address).model_fields
        ports = {name: field.default for name, field in fields.items() if name.endswith("_port")}
        for name, field in fields.items():
            if name in listed:
                continue
            listed.add(name)
            lines.append(f"# {field.description}")
            default = field.default
            if field.default_factory is not None:
                default = cast(Callable[[dict[str, Any]], str], field.default_factory)(ports)
            if default is None or isinstance(default, SecretStr):
                is_generated = _is_secret(name) and name not in CHOSEN
                default = GENERATED if is_generated else ""
            elif isinstance(default, Path):
                default = default.relative_to(ROOT)
            lines.append(f"#{variable(name)}={default}".rstrip())
    return "\n".join(lines) + "\n"


def class_at(address: str) -> type[Settings]:
    """Return the settings class at `module:class`."""
    module, _, name = address.partition(":")
    return cast(type[Settings], getattr(import_module(module), name))


if __name__ == "__main__":
    sys.stdout.write(example())
