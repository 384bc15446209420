"""The programs of the stack: command line, environment, address and health check of each."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from readmit import libpq, storage
from readmit.inherited_environment import WITHOUT_FILES, inherited, proxies
from readmit.settings import MLFLOW_NOTEBOOK, ROOT, StackSettings, variable
from stack import login_proxy, monitoring, object_store, web_logins
from stack.object_store import Store
from stack.postgres import Server
from stack.program_inputs import digest_of, settings_of

# Every process of the stack has these variables; `stack.sessions` finds it by them.
HOME_MARK = "READMIT_STACK"
PROGRAM_MARK = "READMIT_PROGRAM"
# The watchdog's programs, as JSON: the address of the health check by name.
WATCHED = "READMIT_WATCHED"
AIRFLOW_PROGRAMS = (
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
)
# Other programs write to these while they stop: tasks their state, the API its last predictions.
NEEDED_TO_END = ("postgres", "s3", "mlflow", "airflow-api-server", "pushgateway")
API_FD = 3  # where the API finds its listening port (stack/api_socket.py)
# A task of the scheduler fetches the source file, when DATASET is an address.
DOWNLOADING = ("airflow-scheduler",)
# Everything else works without them, so they never stop a start.
OPTIONAL = (*monitoring.PROGRAMS, "notebook")
EXPORTERS = (
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
    "prometheus-blackbox-exporter",
)
PROMETHEUS_HINT = (
    "apt-get install prometheus prometheus-pushgateway prometheus-alertmanager"
    f" {' '.join(EXPORTERS)}"
)
GRAFANA_HINT = (
    "install Grafana from https://grafana.com/grafana/download so that `grafana` is on the PATH"
)

WORKERS = {
    # Airflow's default asks DNS for the full name, for each task; without a network that waits.
    # Python keeps this name for as long as a process lives: a task whose heartbeats came from
    # another host would be ended.
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "platform.node",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
    # A worker that misses the end of its task by a moment looks again after this many seconds;
    # until then it takes no other task.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": "100",
    # Two candidates are fitted at once, so there are more OpenMP threads than cores. A thread
    # that waits must not spin: LightGBM took 71 s of a busy core with it, and 10 s without.
    "OMP_WAIT_POLICY": "PASSIVE",
}

COSMOS = {
    "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "false",
    "AIRFLOW__COSMOS__PROPAGATE_LOGS": "false",
    # Cosmos would store all that dbt has told so far as a Variable, at each of 200 events of a
    # build. Without it a dbt that was killed is asked again model by model, as after any fault.
    "AIRFLOW__COSMOS__ENABLE_WATCHER_RELIABLE_RETRY": "false",
}


@dataclass(frozen=True)
class Program:
    """One supervised program.

    `health` is a URL that answers 200 when the program is ready, or empty. `ports` has the ports by
    the variable that sets them.
    """

    name: str
    command: tuple[str, ...]
    title: str
    environment: Mapping[str, str] = field(default_factory=dict)
    health: str = ""
    address: str = ""
    ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    inputs: str = ""  # from `stack.program_inputs`: settings and code that the program reads itself

    @property
    def fingerprint(self) -> str:
        """A hash of all that makes the program start as it does, which shows no secret.

        `make up` restarts a program whose fingerprint has changed.
        """
        document = json.dumps([self.command, dict(self.environment), self.inputs], sort_keys=True)
        return sha256(document.encode()).hexdigest()[:16]


def reveal(secret: SecretStr | None) -> str:
    """Return the text of a secret, or an empty text when it is not set."""
    if secret is None:
        return ""
    return secret.get_secret_value()


def python(*arguments: str) -> tuple[str, ...]:
    """Return a command line of this Python; with `-m`, sys.path starts with the repository root."""
    return (sys.executable, *arguments)


def server(settings: StackSettings) -> Server:
    """Return the Postgres server of this stack."""
    return Server(settings.readmit_home, settings.postgres_port)


def store(settings: StackSettings) -> Store:
    """Return the object store of this stack."""
    return Store(settings.readmit_home, settings.s3_port, settings.s3_metrics_port)


def identities(settings: StackSettings) -> str:
    """Return the object store's file of identities, with the keys of this stack."""
    keys = {identity: storage.keys(identity, settings) for identity in storage.IDENTITIES}
    return object_store.identities(keys, settings)


def all_programs(settings: StackSettings) -> list[Program]:
    """Return the programs that this machine can run, in the order in which they start."""
    return [_with_inputs(program, settings) for program in _programs(settings)]


def _with_inputs(program: Program, settings: StackSettings) -> Program:
    key = fingerprint_key(settings)
    return replace(program, inputs=digest_of(program.name, settings, key))


def _programs(settings: StackSettings) -> list[Program]:
    programs = [
        *_storage(settings),
        _mlflow(settings),
        *_airflow(settings),
        *_web(settings),
        *_login_proxy(settings),
    ]
    optional = observability(settings)
    if notebook_mark(settings).is_file():
        optional.append(notebook(settings))
    programs.append(_watchdog(settings, [*programs, *optional]))
    programs.append(_clock(settings))
    return [*programs, *optional]


def fingerprint_key(settings: StackSettings) -> str:
    """Return the key of the digests in the fingerprints.

    It is the object store's first secret key. `make rotate` renews that and keeps the first one as
    this key, so that what does not change is not restarted.
    """
    path = settings.readmit_home / "fingerprint-key"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return reveal(settings.aws_secret_access_key)


def expected_programs(settings: StackSettings) -> list[Program]:
    """Return the programs of monitoring that `make up` will fetch."""
    paths = {}
    for release in monitoring.to_fetch(settings):
        paths[release.name] = str(release.path(settings.readmit_home))
    return observability(settings, paths)


def find(name: str, settings: StackSettings) -> Program:
    """Return one program of this machine by its name.

    A digest of the code of all programs takes half a second, and each program starts through this.
    """
    by_name = {program.name: program for program in _programs(settings)}
    return _with_inputs(by_name[name], settings)


def missing_programs() -> dict[str, str]:
    """Return the optional components that are not installed, with a hint how to install each."""
    hints = {}
    for name, (package, *_) in monitoring.PROGRAMS.items():
        if monitoring.find_installed(name) is None:
            hints[package] = GRAFANA_HINT if name == "grafana" else PROMETHEUS_HINT
    return hints


def installation_hints(settings: StackSettings) -> list[str]:
    """Return one line per hint, with the components that are neither installed nor fetched."""
    present = monitoring.find(settings)
    names: dict[str, list[str]] = {}
    for name, (package, *_) in monitoring.PROGRAMS.items():
        hint = missing_programs().get(package)
        if hint and settings.monitoring and name not in present:
            names.setdefault(hint, []).append(package)
    lines = []
    for hint, packages in names.items():
        lines.append(
            f"not installed: {', '.join(packages)}. `make up` downloads them. To install: {hint}"
        )
    return lines


# ---------------------------------------------------------------- environment of programs


def settings_environment(settings: StackSettings) -> dict[str, str]:
    """Return the settings that are set as environment variables, secrets in clear."""
    variables = {}
    for name, value in settings.model_dump(exclude_none=True).items():
        if isinstance(value, SecretStr):
            variables[variable(name)] = value.get_secret_value()
        else:
            variables[variable(name)] = str(value)
    return variables


def environment_of(program: Program, settings: StackSettings) -> dict[str, str]:
    """Return the whole environment of a program: of the settings, those that it reads itself.

    Of this process' environment it gets what every program may inherit. `.env` holds every secret,
    so programs do not read it.
    """
    variables = inherited(os.environ)
    if program.name in DOWNLOADING:
        variables |= proxies(os.environ)
    if monitoring.is_expected("pushgateway", settings):
        url = f"http://127.0.0.1:{settings.pushgateway_port}"
        variables[variable("pushgateway_url")] = url
    variables |= settings_of(program.name, settings)
    # libpq in dbt, Airflow and MLflow.
    if settings.pgsslmode:
        variables["PGSSLMODE"] = settings.pgsslmode
    if settings.pgsslrootcert:
        variables["PGSSLROOTCERT"] = str(settings.pgsslrootcert)
    # Marks, paths, and switches of telemetry: every program has them.
    variables |= storage.library_environment(settings)
    variables |= {
        **WITHOUT_FILES,
        "READMIT_ENV_FILE": os.devnull,
        HOME_MARK: str(settings.readmit_home),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "SCARF_ANALYTICS": "false",
        "MALLOC_ARENA_MAX": "2",
        # Airflow renames its processes. Without this, a new name overwrites the environment by
        # which the processes are found.
        "SPT_NOENV": "1",
    }
    return variables | dict(program.environment)


def airflow_environment(settings: StackSettings) -> dict[str, str]:
    """Return Airflow's configuration as environment variables, which replace its file."""
    home = settings.readmit_home / "airflow"
    url = f"http://127.0.0.1:{settings.airflow_port}"
    secret = quote(reveal(settings.airflow_password), safe="")
    address = f"airflow:{secret}@{settings.postgres_host}:{settings.postgres_port}/airflow"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "stack.preloading_executor.PreloadingExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(settings.airflow_parallelism),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(settings.airflow_parallelism),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        "AIRFLOW__CORE__FERNET_KEY": reveal(settings.airflow_fernet_key),
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "readmit.libpq.PARAMETERS",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": reveal(settings.airflow_secret_key),
        "AIRFLOW__API_AUTH__JWT_SECRET": reveal(settings.airflow_jwt_secret),
        "AIRFLOW__API_AUTH__JWT_ISSUER": "readmit",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # A file that changes is read at once. To read them all takes seconds of a core each time.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        # Cosmos' default is one folder in /tmp, which the first user of a machine takes from all
        # others.
        "AIRFLOW__COSMOS__CACHE_DIR": str(home / "cosmos"),
        **COSMOS,
        **WORKERS,
        **_airflow_logging(settings, home),
    }


def _airflow_logging(settings: StackSettings, home: Path) -> dict[str, str]:
    """Return the variables that send the log of each finished task to the object store."""
    return {
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "false",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "true",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"s3://{settings.s3_pipeline_bucket}/logs",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "s3_logs",
        **_logs_connection(settings, has_keys=True),
    }


def _logs_connection(settings: StackSettings, has_keys: bool) -> dict[str, str]:
    """Return the variable with Airflow's connection to the object store, for its logs."""
    connection: dict[str, object] = {
        "conn_type": "aws",
        "extra": {"endpoint_url": settings.s3_endpoint_url, "region_name": "us-east-1"},
    }
    if has_keys:
        connection["login"] = settings.s3_logs_access_key_id
        connection["password"] = reveal(settings.s3_logs_secret_access_key)
    return {"AIRFLOW_CONN_S3_LOGS": json.dumps(connection)}


# ---------------------------------------------------------------- the programs


def _watchdog(settings: StackSettings, programs: list[Program]) -> Program:
    """Return the program that restarts hanging programs; its environment has all that it needs."""
    watched = {}
    for program in programs:
        if program.health or program.name == "postgres":
            watched[program.name] = program.health
    return Program(
        "watchdog",
        python("-m", "stack.watchdog"),
        "Watchdog",
        environment={
            WATCHED: json.dumps(watched),
            "READMIT_HOME": str(settings.readmit_home),
            "READMIT_POSTGRES_PORT": str(settings.postgres_port),
        },
    )


def _clock(settings: StackSettings) -> Program:
    """Return the program that makes the backups, and cleans Airflow's and MLflow's tables.

    A backup that runs when it ends is none.
    """
    names = ("AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
    airflow = airflow_environment(settings)
    return Program(
        "clock",
        python("-m", "stack.clock"),
        "Clock (backups, old runs and trainings)",
        environment={name: airflow[name] for name in names},
    )


def _storage(settings: StackSettings) -> list[Program]:
    postgres = server(settings)
    seaweed = store(settings)
    return [
        Program(
            "postgres",
            tuple(postgres.command()),
            "Postgres 18",
            address=f"127.0.0.1:{settings.postgres_port}",
            ports={"READMIT_POSTGRES_PORT": (settings.postgres_port,)},
            stop_signal="INT",
            stop_seconds=60,
        ),
        Program(
            "s3",
            tuple(seaweed.command()),
            "S3 (SeaweedFS)",
            environment={"GOMEMLIMIT": "300MiB", "GOGC": "50"} | seaweed.environment,
            health=f"http://127.0.0.1:{settings.s3_port}/healthz",
            address=f"http://127.0.0.1:{settings.s3_port}",
            # After SIGTERM its filer waits 15 s for two streams that the store itself keeps open.
            # The wait cannot be set, and it writes nothing: a kill loses no object.
            stop_signal="KILL",
            ports={
                "READMIT_S3_PORT": seaweed.ports,
                "READMIT_S3_METRICS_PORT": (seaweed.metrics_port,),
            },
        ),
    ]


def _mlflow(settings: StackSettings) -> Program:
    root = f"s3://{settings.s3_mlflow_bucket}/"
    listen = ("--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--workers", "1")
    url = f"http://127.0.0.1:{settings.mlflow_port}"
    return Program(
        "mlflow",
        python(
            "-m",
            "readmit.ops.mlflow_server",
            "server",
            *listen,
            "--app-name",
            "basic-auth",
            "--default-artifact-root",
            root,
            "--no-serve-artifacts",
        ),
        "MLflow",
        environment={
            # MLflow and its user store read server and password from these, as in the pod.
            "PGHOST": settings.postgres_host,
            "PGPORT": str(settings.postgres_port),
            "PGPASSWORD": reveal(settings.mlflow_password),
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://mlflow@/mlflow?{libpq.as_query()}",
            "MLFLOW_AUTH_CONFIG_PATH": str(ROOT / "k8s" / "base" / "mlflow-auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": settings.mlflow_tracking_username,
            "MLFLOW_AUTH_ADMIN_PASSWORD": reveal(settings.mlflow_tracking_password),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": reveal(settings.mlflow_flask_server_secret_key),
            "AWS_ACCESS_KEY_ID": settings.s3_mlflow_access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": reveal(settings.s3_mlflow_secret_access_key),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        health=f"{url}/health",
        # The runs of the first experiment, which is the training's: MLflow's first page leads to
        # pages for language models.
        address=f"{url}/#/experiments/1/runs",
        ports={"READMIT_MLFLOW_PORT": (settings.mlflow_port,)},
    )


def _airflow(settings: StackSettings) -> list[Program]:
    """Return Airflow's programs; only the api-server has a port and reports the others' health."""
    environment = airflow_environment(settings)
    url = f"http://127.0.0.1:{settings.airflow_port}"
    health = f"{url}/api/v2/monitor/health"
    api_server = Program(
        "airflow-api-server",
        python("-m", "airflow", "api-server"),
        "Airflow api-server",
        environment=environment,
        health=health,
        address=url,
        ports={"READMIT_AIRFLOW_PORT": (settings.airflow_port,)},
    )
    programs = [api_server]
    for name in AIRFLOW_PROGRAMS[1:]:
        command = name.removeprefix("airflow-")
        options = []
        if command in ("scheduler", "triggerer"):
            # Their log servers would listen on all interfaces. The api-server reads the files.
            options.append("--skip-serve-logs")
        # The DAG processor stores no log of a task, so it has no keys for them.
        logs = _logs_connection(settings, has_keys=command != "dag-processor")
        program = Program(
            name,
            # Not `-m airflow`: Python finds no file for a frame of runpy. `inspect.stack()`, which
            # Airflow calls in each worker, then reads all 6,400 modules, and the pages that hold
            # them are copied: 60 MB for each worker.
            python(str(Path(sys.executable).with_name("airflow")), command, *options),
            f"Airflow {command}",
            environment=environment | logs,
            health=f"{health}#{name}",
        )
        programs.append(program)
    return programs


def _api(settings: StackSettings) -> list[Program]:
    port = settings.api_port
    uvicorn = ("-m", "uvicorn", "serving.app:create_app", "--factory", "--no-access-log")
    # JSON from the first line on: uvicorn logs before the application does.
    logs = ("--log-config", str(ROOT / "readmit" / "telemetry" / "uvicorn_logs.json"))
    # The keep-alive is longer than that of clients and proxies, so that the API never closes a
    # connection on which a request arrives.
    http = ("--http", "serving.protocol:Protocol", "--ws", "none", "--timeout-keep-alive", "75")
    # Whose X-Forwarded-For is believed is the API's own setting; uvicorn would believe loopback.
    # After the shut-down the prediction log is written: `stop_seconds` covers both.
    more = ("--no-proxy-headers", "--timeout-graceful-shutdown", "10")
    return [
        # It reads no settings: nothing but its port makes `make up` restart it.
        Program(
            "api-socket",
            python("-m", "stack.api_socket", str(port), str(settings.readmit_home)),
            "API port",
        ),
        Program(
            "api",
            python(*uvicorn, *logs, *http, *more, "--fd", str(API_FD)),
            "API",
            stop_seconds=30,
            health=f"http://127.0.0.1:{port}/livez",
            address=f"http://127.0.0.1:{port}/docs",
            ports={"READMIT_API_PORT": (port,)},
        ),
    ]


def _web(settings: StackSettings) -> list[Program]:
    ui = settings.ui_port
    docs = settings.docs_port
    streamlit = (
        "-m",
        "streamlit",
        "run",
        str(ROOT / "ui" / "streamlit_app.py"),
        "--server.headless=true",
    )
    local = (
        "--server.address=127.0.0.1",
        f"--server.port={ui}",
        "--browser.gatherUsageStats=false",
    )
    quiet = ("--server.fileWatcherType=none", "--browser.serverAddress=127.0.0.1")
    return [
        *_api(settings),
        Program(
            "ui",
            python(*streamlit, *local, *quiet),
            "Web form",
            environment=_public_ports(settings),
            health=f"http://127.0.0.1:{ui}/_stcore/health",
            address=f"http://127.0.0.1:{ui}",
            ports={"READMIT_UI_PORT": (ui,)},
        ),
        Program(
            "docs",
            python("-m", "readmit.docs_site.server"),
            "Docs site",
            health=f"http://127.0.0.1:{docs}/",
            address=f"http://127.0.0.1:{docs}",
            ports={"READMIT_DOCS_PORT": (docs,)},
        ),
    ]


def _public_ports(settings: StackSettings) -> dict[str, str]:
    """Return the ports that the form's links name: those of the proxy when readers come by it."""
    if not login_proxy.is_open(settings):
        return {}
    variables = {variable("api_url"): settings.api_url}
    for part, port in login_proxy.ports(settings).items():
        if part != "ui":
            variables[variable(f"{part}_port")] = str(port)
    return variables


def observability(settings: StackSettings, paths: Mapping[str, str] | None = None) -> list[Program]:
    """Return the programs of monitoring at these paths, by default those that are there."""
    if paths is None:
        paths = monitoring.find(settings)
    builders: dict[str, Callable[[StackSettings, str], Program]] = {
        "pushgateway": pushgateway,
        "node-exporter": node_exporter,
        "postgres-exporter": postgres_exporter,
        "blackbox-exporter": blackbox_exporter,
        "alertmanager": alertmanager,
        "prometheus": prometheus,
        "grafana": grafana,
    }
    return [build(settings, paths[name]) for name, build in builders.items() if name in paths]


def pushgateway(settings: StackSettings, path: str) -> Program:
    """Return the Pushgateway at `path`, which holds the gauges of jobs."""
    url = f"http://127.0.0.1:{settings.pushgateway_port}"
    database = settings.readmit_home / "pushgateway.db"
    return Program(
        "pushgateway",
        (
            path,
            f"--web.listen-address=127.0.0.1:{settings.pushgateway_port}",
            f"--persistence.file={database}",
            *web_logins.options("pushgateway", settings),
        ),
        "Pushgateway",
        health=f"{url}/-/ready",
        address=url,
        ports={"READMIT_PUSHGATEWAY_PORT": (settings.pushgateway_port,)},
    )


def node_exporter(settings: StackSettings, path: str) -> Program:
    """Return the exporter of the machine's metrics, whose program is at `path`."""
    url = f"http://127.0.0.1:{settings.node_exporter_port}"
    return Program(
        "node-exporter",
        (
            path,
            f"--web.listen-address=127.0.0.1:{settings.node_exporter_port}",
            *web_logins.options("node-exporter", settings),
        ),
        "Node exporter",
        health=f"{url}/",
        address=url,
        ports={"READMIT_NODE_EXPORTER_PORT": (settings.node_exporter_port,)},
    )


def postgres_exporter(settings: StackSettings, path: str) -> Program:
    """Return the exporter of Postgres' metrics, whose program is at `path`."""
    url = f"http://127.0.0.1:{settings.postgres_exporter_port}"
    database = f"{settings.postgres_host}:{settings.postgres_port}/{settings.clean_database}"
    return Program(
        "postgres-exporter",
        (
            path,
            f"--web.listen-address=127.0.0.1:{settings.postgres_exporter_port}",
            *web_logins.options("postgres-exporter", settings),
        ),
        "Postgres exporter",
        environment={
            "DATA_SOURCE_URI": f"{database}?sslmode=disable&connect_timeout=10",
            "DATA_SOURCE_USER": "reader",
            "DATA_SOURCE_PASS": reveal(settings.reader_password),
        },
        health=f"{url}/",
        address=url,
        ports={"READMIT_POSTGRES_EXPORTER_PORT": (settings.postgres_exporter_port,)},
    )


def blackbox_exporter(settings: StackSettings, path: str) -> Program:
    """Return the program at `path` that probes the pages of the others."""
    url = f"http://127.0.0.1:{settings.blackbox_exporter_port}"
    listen = f"--web.listen-address=127.0.0.1:{settings.blackbox_exporter_port}"
    modules = ROOT / "k8s" / "components" / "monitoring" / "blackbox.yml"
    return Program(
        "blackbox-exporter",
        (
            path,
            f"--config.file={modules}",
            listen,
            *web_logins.options("blackbox-exporter", settings),
        ),
        "Health checks (blackbox exporter)",
        health=f"{url}/-/healthy",
        address=url,
        ports={"READMIT_BLACKBOX_EXPORTER_PORT": (settings.blackbox_exporter_port,)},
    )


def alertmanager(settings: StackSettings, path: str) -> Program:
    """Return Alertmanager, whose program is at `path`."""
    url = f"http://127.0.0.1:{settings.alertmanager_port}"
    home = settings.readmit_home
    options = (
        f"--config.file={home / 'alertmanager.yml'}",
        f"--storage.path={home / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{settings.alertmanager_port}",
        "--cluster.listen-address=",  # one instance: it needs no port for others
        *web_logins.options("alertmanager", settings),
    )
    return Program(
        "alertmanager",
        (path, *options),
        "Alertmanager",
        health=f"{url}/-/ready",
        address=url,
        ports={"READMIT_ALERTMANAGER_PORT": (settings.alertmanager_port,)},
    )


def prometheus(settings: StackSettings, path: str) -> Program:
    """Return Prometheus, whose program is at `path`."""
    url = f"http://127.0.0.1:{settings.prometheus_port}"
    home = settings.readmit_home
    options = (
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{settings.prometheus_port}",
        "--storage.tsdb.retention.time=30d",
        "--web.cors.origin=^$",  # by default every web page may read what it answers
    )
    return Program(
        "prometheus",
        (path, *options),
        "Prometheus",
        environment={"GOGC": "50"},
        health=f"{url}/-/ready",
        address=url,
        ports={"READMIT_PROMETHEUS_PORT": (settings.prometheus_port,)},
    )


def grafana_home(path: str) -> Path:
    """Return the folder of Grafana's own files: that of the archive, or that of the package."""
    archive = Path(path).resolve().parents[1]
    if (archive / "conf" / "defaults.ini").is_file():
        return archive
    return Path("/usr/share/grafana")


def grafana(settings: StackSettings, path: str) -> Program:
    """Return Grafana, whose program is at `path`."""
    url = f"http://127.0.0.1:{settings.grafana_port}"
    home = settings.readmit_home / "grafana"
    command = [path]
    if path.endswith("grafana"):
        command.append("server")
    folder = ROOT / "k8s" / "components" / "grafana"
    return Program(
        "grafana",
        (*command, "--homepath", str(grafana_home(path))),
        "Grafana",
        environment={
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(settings.grafana_port),
            "GF_PATHS_DATA": str(home),
            "GF_PATHS_LOGS": str(home / "logs"),
            "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
            "DASHBOARDS_FOLDER": str(folder / "dashboards"),
            "PROMETHEUS_URL": f"http://127.0.0.1:{settings.prometheus_port}",
            "READMIT_PGSSLMODE": "disable",
            "READMIT_PGSSLROOTCERT": "",
            "GF_SECURITY_ADMIN_PASSWORD": reveal(settings.grafana_admin_password),
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_SECURITY_DISABLE_GRAVATAR": "true",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(folder / "dashboards/serving.json"),
        },
        health=f"{url}/api/health",
        address=url,
        ports={"READMIT_GRAFANA_PORT": (settings.grafana_port,)},
    )


def notebook_mark(settings: StackSettings) -> Path:
    """Return the file that says that JupyterLab belongs to the stack, until `make down`."""
    return settings.readmit_home / "notebook"


def notebook(settings: StackSettings) -> Program:
    """Return JupyterLab; all that it reads and writes is below READMIT_HOME."""
    url = f"http://127.0.0.1:{settings.notebook_port}"
    home = settings.readmit_home
    options = (
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={settings.notebook_port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_root=True",
        f"--ServerApp.root_dir={home / 'notebooks'}",
        # It asks no other machine for news, newer versions or extensions.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    )
    return Program(
        "notebook",
        python("-m", "jupyterlab", *options),
        "Notebook (JupyterLab)",
        environment={
            "JUPYTER_TOKEN": reveal(settings.notebook_token),
            "JUPYTER_NO_CONFIG": "1",  # that of the user's other projects
            "JUPYTER_CONFIG_DIR": str(home / "jupyter" / "config"),
            "JUPYTER_DATA_DIR": str(home / "jupyter" / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "jupyter" / "runtime"),
            "JUPYTER_PLATFORM_DIRS": "0",
            "IPYTHONDIR": str(home / "jupyter" / "ipython"),
            # MLflow's progress bars ask for widgets of the browser, and do without them.
            "PYTHONWARNINGS": "ignore:IProgress not found",
            "READMIT_MLFLOW_TRACKING_USERNAME": MLFLOW_NOTEBOOK,
            "READMIT_MLFLOW_TRACKING_PASSWORD": reveal(settings.mlflow_notebook_password),
        },
        health=f"{url}/api",
        address=f"{url}/lab/tree/explore.ipynb",
        ports={"READMIT_NOTEBOOK_PORT": (settings.notebook_port,)},
    )


def _login_proxy(settings: StackSettings) -> list[Program]:
    """Return the proxy, when other machines shall reach the pages."""
    if not login_proxy.is_open(settings):
        return []
    pages = login_proxy.addresses(settings)
    health_port = login_proxy.health_port(settings)
    return [
        Program(
            "login-proxy",
            tuple(login_proxy.command(settings)),
            "Log-in proxy (nginx)",
            environment={"READMIT_PROXY_FILES": login_proxy.digest(settings)},
            health=f"http://127.0.0.1:{health_port}/livez",
            address=pages["ui"],
            ports={"READMIT_PROXY_PORT": (*login_proxy.ports(settings).values(), health_port)},
            stop_signal="QUIT",
        )
    ]
