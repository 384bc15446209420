"""`make up`: start the stack, run the pipeline until a model is served, and print the addresses.

Every step does only what is still missing. So a second run resumes where the first stopped, and
changes nothing when that was complete.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

import httpx
import psutil
from rich.table import Table

from readmit import db
from readmit.batches import claims, rebuilds
from readmit.command import EXPECTED
from readmit.inherited_environment import forget_the_shell
from readmit.intake import inbox, sources
from readmit.ops import bootstrap
from readmit.settings import (
    BadSetting,
    StackSettings,
    env_file,
    variable,
)
from stack import (
    alerting,
    configuration,
    grafana_password,
    login_proxy,
    machine,
    monitoring,
    optional_ports,
    pipeline,
    preflight,
    processes,
    programs,
    readiness,
    release,
    set_up,
    state_folder,
)
from stack.airflow_api import Airflow, AirflowFailed
from stack.optional_ports import BusyPort
from stack.outcomes import (
    Outcome,
    count,
    count_published,
    stop_if_all_rejected,
    summary,
    table,
)
from stack.postgres import PostgresFailed
from stack.programs import Program
from stack.progress import Progress
from stack.set_up import SetUpFailed
from stack.supervisor import Supervisor, SupervisorFailed

STORAGE = ("postgres", "s3")
# Airflow's triggerer is not among them: no task of ours waits in it.
CORE = ("mlflow", "airflow-api-server", "airflow-scheduler", "airflow-dag-processor")
SERVING = ("api-socket", "api")
# The file below READMIT_HOME with the times of the last `make up` that published batches.
TIMES = "up.json"
# On 2 idle cores the slowest start takes 30 s. The limits leave room for a busy machine.
SECONDS = {
    "storage": 180.0,
    "core": 420.0,
    "rest": 300.0,
    "optional": 20.0,
    "model": 300.0,
    "trial": 120.0,
}
# In this time each caller of the API gets an answer that ends its connection.
DRAIN_SECONDS = 3.0
# How long `make up` waits for the download of monitoring when all else is done.
DOWNLOAD_SECONDS = 600.0


# About how long each phase takes on 2 cores until a prediction is possible, for the estimate.
EXPECTED_SECONDS = {
    "starting Postgres": 3,
    "setting up databases, buckets and Airflow": 15,
    "starting MLflow and Airflow": 22,
    "reading the source file": 5,
    "publishing batches": 140,
    "training": 100,
}


class CannotStart(Exception):
    """The machine does not meet the requirements; the message has one line per problem."""


def up(settings: StackSettings, progress: Progress, busy: Sequence[BusyPort] = ()) -> list[Outcome]:
    """Start everything and wait until a model is served and its training has ended.

    Args:
        settings: the settings of the stack.
        progress: shows what is going on.
        busy: ports of optional components that cannot be used; these are left out.

    Returns:
        The verdict on each build that was waiting.

    Raises:
        BatchRejected: all of them were rejected.
    """
    listed = programs_to_start(settings, busy)
    required = [program for program in listed if program.name not in programs.OPTIONAL]
    supervisor = Supervisor(settings)
    download = _start_download(settings, supervisor, busy)
    start_all(listed, settings, supervisor, progress)
    download.stack_runs()
    with progress.phase("reading the source file"):
        for refusal in inbox.submit_new_files(settings):
            progress.console.print(f"inbox: {refusal}", markup=False)
        sources.ensure_source(settings, is_forced=bool(os.environ.get("READMIT_FORCE")))
    airflow = Airflow(settings)
    with progress.phase("reading the DAG files"):
        pipeline.unpause(airflow, progress.show)
    with progress.phase("publishing batches"):
        rebuilds.plan(settings)
        n_waiting = claims.count_waiting(settings)
        progress.expect("publishing batches", n_waiting * pipeline.SECONDS_PER_BATCH)
        if not n_waiting:
            progress.expect("training", 0)
        outcomes = pipeline.publish_waiting(airflow, settings, progress.show)
    stop_if_all_rejected(outcomes, settings, progress.console)
    with progress.phase("training"):
        training = pipeline.train(airflow, settings, progress.show, count_published(outcomes))
    with progress.phase("waiting for the API, the web form and the docs site"):
        _start(required, settings, supervisor, progress, "rest")
        wait_for_model(settings, progress, SECONDS["model"])
        _announce_prediction(settings, progress, count(outcomes, "batch"))
    if training is not None:
        with progress.phase("sealed test and learning curve"):
            pipeline.finish_training(airflow, training, progress.show)
    with progress.phase("monitoring"):
        _finish_monitoring(download, settings, supervisor, progress, busy)
    return outcomes


def _start_download(
    settings: StackSettings, supervisor: Supervisor, busy: Sequence[BusyPort]
) -> monitoring.Download:
    """Begin to fetch what monitoring lacks, beside the rest.

    What is there is started when the stack runs.
    """

    def start_programs() -> None:
        present = programs_to_start(settings, busy)
        configuration.write_files(settings, present)
        supervisor.apply()
        _ensure(present, supervisor)
        supervisor.reload("prometheus")

    releases = monitoring.to_fetch(settings)
    if releases:
        state_folder.claim(settings.readmit_home)
    download = monitoring.Download(settings, releases, start_programs)
    download.start()
    return download


def _finish_monitoring(
    download: monitoring.Download,
    settings: StackSettings,
    supervisor: Supervisor,
    progress: Progress,
    busy: Sequence[BusyPort],
) -> None:
    """Wait for the download and for the programs; what is missing is one line."""
    download.wait(DOWNLOAD_SECONDS, progress.show)
    for line in download.errors:
        progress.error(line)
    if line := download.report():
        progress.console.print(line, style="yellow", markup=False)
    for program in programs_to_start(settings, busy):
        if program.name in programs.OPTIONAL:
            _start_optional(program, settings, supervisor, progress)
    grafana_password.renew(settings)


def start_all(
    listed: list[Program], settings: StackSettings, supervisor: Supervisor, progress: Progress
) -> None:
    """Start every program, and set up what Airflow and the pipeline need.

    What runs with other settings, secrets or code is restarted, the API last.
    """
    storage_programs = [program for program in listed if program.name in STORAGE]
    core_programs = [program for program in listed if program.name in CORE]
    with progress.phase("checking the machine"):
        if problems := preflight.problems(settings, listed, supervisor.running()):
            raise CannotStart("\n".join(problems))
    with progress.phase("starting Postgres"):
        deferred = start_supervisor(settings, listed, supervisor)
        # Not before: the start of the supervisor ends what an earlier one has left running.
        manifest = set_up.begin_manifest(settings)
        _ensure(storage_programs, supervisor)
        postgres = [program for program in storage_programs if program.name == "postgres"]
        readiness.wait(postgres, settings, supervisor, SECONDS["storage"], progress.show)
    with progress.phase("setting up databases, buckets and Airflow"):
        # The API of before logs in with its password until the new one takes over.
        later: tuple[db.Role, ...] = ("serving",) if "api" in deferred else ()
        start_storage = partial(_start, storage_programs, settings, supervisor, progress, "storage")
        tables = set_up.set_up(settings, progress, start_storage, later)
        tables.airflow.result()
        if manifest.result():
            # A new process reads the DAG files at once, one that runs only minutes later.
            supervisor.stop_program("airflow-dag-processor")
    with progress.phase("starting MLflow and Airflow"):
        if any((settings.readmit_home / "models").glob("*")):
            # It serves the model that it has kept: after `make down` nobody waits for Airflow.
            _ensure([program for program in listed if program.name in SERVING], supervisor)
        # MLflow's tables may take longer than Airflow's.
        _ensure([program for program in core_programs if program.name != "mlflow"], supervisor)
        tables.mlflow.result()
        _start(core_programs, settings, supervisor, progress, "core")
        # Each start is busy importing. The others start while the scheduler imports the libraries
        # of the tasks, and while the first batch is published.
        _ensure(listed, supervisor)
    set_up.adopt_production(settings)
    if "api" in deferred:
        with progress.phase("replacing the API"):
            _replace_api(settings, supervisor, progress)
    if "ui" in deferred:  # its new key is one of the new API's
        supervisor.replace("ui")
    set_up.sign_again(settings)


def _announce_prediction(settings: StackSettings, progress: Progress, n_batches: int) -> None:
    minutes, seconds = divmod(round(progress.elapsed()), 60)
    progress.console.print(
        f"[bold]The first prediction is possible[/] after {minutes} min {seconds} s:"
        f" {settings.page('api')}/docs"
    )
    if n_batches:
        write_times(settings, progress, n_batches)


def programs_to_start(settings: StackSettings, busy: Sequence[BusyPort] = ()) -> list[Program]:
    """Return all programs but the optional ones whose ports cannot be used."""
    left_out = {port.title for port in busy if not port.free_port}
    listed = []
    for program in programs.all_programs(settings):
        if program.name not in programs.OPTIONAL or program.title not in left_out:
            listed.append(program)
    return listed


def write_times(settings: StackSettings, progress: Progress, batches: int) -> None:
    """Write how long this `make up` took until a prediction was possible, for `make bench`."""
    times = {"batches": batches, "seconds": progress.elapsed(), "phases": progress.seconds}
    (settings.readmit_home / TIMES).write_text(json.dumps(times, indent=1), encoding="utf-8")


def start_supervisor(
    settings: StackSettings, listed: list[Program], supervisor: Supervisor
) -> list[str]:
    """Start the supervisor, or apply a changed configuration.

    Returns:
        Which of the API and the web form run with another configuration or code: they go on until
        the end.
    """
    state_folder.claim(settings.readmit_home)
    os.environ.update(machine.environment(settings.readmit_home))
    programs.server(settings).initialise(programs.reveal(settings.postgres_password))
    programs.store(settings).prepare(programs.identities(settings))
    configuration.write_files(settings, listed)
    if supervisor.start():
        return []
    return supervisor.apply(deferred=["api", "ui"])


def _replace_api(settings: StackSettings, supervisor: Supervisor, progress: Progress) -> None:
    """Let the API of this code take over, once a process of it has loaded the model.

    `stack.api_socket` holds the port meanwhile, so that no prediction is refused.

    Raises:
        SetUpFailed: the new API does not get ready; the old one goes on answering.
    """
    api = programs.find("api", settings)
    if is_api_ready(settings.api_url):
        progress.show("trying the new API beside the one that answers")
        _try_api(api, settings, _password_in_use(supervisor))
    supervisor.replace(
        "api", DRAIN_SECONDS, between=partial(bootstrap.set_password, "serving", settings)
    )
    readiness.wait([api], settings, supervisor, SECONDS["rest"], progress.show)


def _password_in_use(supervisor: Supervisor) -> dict[str, str]:
    """Return the variable with the password by which the API that runs logs in to Postgres."""
    name = variable("serving_password")
    environment = psutil.Process(int(supervisor.states()["api"]["pid"])).environ()
    return {name: environment[name]}


def _try_api(api: Program, settings: StackSettings, password: Mapping[str, str]) -> None:
    """Start the API on a port of its own until it has loaded the model, and end it.

    Args:
        api: the new one.
        settings: of the stack.
        password: the variable with the password that Postgres has until the API is replaced.

    Raises:
        SetUpFailed: it does not get ready.
    """
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    mark = {programs.PROGRAM_MARK: "api-trial"}
    log = settings.readmit_home / "log" / "api-trial.log"
    log.unlink(missing_ok=True)
    trial = None
    try:
        trial = processes.start(
            [*api.command[:-2], "--host", "127.0.0.1", "--port", str(port)],
            log,
            programs.environment_of(api, settings) | mark | dict(password),
            partial(is_api_ready, f"http://127.0.0.1:{port}"),
            seconds=SECONDS["trial"],
            start_new_session=True,
        )
    except processes.NotReady as error:
        raise SetUpFailed(
            f"the new API does not get ready: {error}\nThe one before goes on answering; log: {log}"
        ) from error
    finally:
        processes.end(processes.marked(mark | {programs.HOME_MARK: str(settings.readmit_home)}), 10)
        if trial is not None:
            trial.wait()


def is_api_ready(url: str) -> bool:
    """Return whether the API at this address serves a model."""
    try:
        return httpx.get(f"{url}/readyz", timeout=10).is_success
    except httpx.HTTPError:
        return False


def _start(
    starting: list[Program],
    settings: StackSettings,
    supervisor: Supervisor,
    progress: Progress,
    group: str,
) -> None:
    for program in starting:
        supervisor.ensure(program.name)
    readiness.wait(starting, settings, supervisor, SECONDS[group], progress.show)


def _ensure(listed: list[Program], supervisor: Supervisor) -> None:
    """Start all programs; of optional ones a failure is reported at the end."""
    for program in listed:
        try:
            supervisor.ensure(program.name)
        except SupervisorFailed:
            if program.name not in programs.OPTIONAL:
                raise


def _start_optional(
    program: Program, settings: StackSettings, supervisor: Supervisor, progress: Progress
) -> None:
    """Start a component without which everything else works; a failure is one line."""
    try:
        _start([program], settings, supervisor, progress, "optional")
    except (readiness.NotReady, SupervisorFailed) as error:
        line = str(error).partition("\n")[0]
        progress.console.print(f"left out: {line}", style="yellow", markup=False)


def wait_for_model(settings: StackSettings, progress: Progress, seconds: float) -> None:
    """Wait until the API serves the model in production."""
    deadline = time.monotonic() + seconds
    reason = ""
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{settings.api_url}/readyz", timeout=5, trust_env=False)
            if response.is_success:
                return
            reason = response.text[:300]
        except httpx.HTTPError as error:
            reason = str(error)
        progress.show("waiting until the API has loaded the model")
        time.sleep(0.5)
    raise readiness.NotReady(f"the API does not serve a model after {seconds:.0f} s: {reason}")


def addresses(settings: StackSettings) -> Table:
    """Return a table with the address and the login of each component."""
    table = Table("component", "address", "log in with", box=None, pad_edge=False)
    logins = {
        "airflow-api-server": "admin, READMIT_AIRFLOW_ADMIN_PASSWORD",
        "mlflow": f"{settings.mlflow_tracking_username}, READMIT_MLFLOW_TRACKING_PASSWORD",
        "grafana": "admin, READMIT_GRAFANA_ADMIN_PASSWORD",
        "notebook": "READMIT_NOTEBOOK_TOKEN",
        "pushgateway": "readmit, READMIT_PUSHGATEWAY_PASSWORD",
        **dict.fromkeys(
            ("alertmanager", "node-exporter", "postgres-exporter", "blackbox-exporter"),
            "readmit, READMIT_MONITORING_PASSWORD",
        ),
        "postgres": "each role, <ROLE>_PASSWORD",
        "s3": "READMIT_AWS_ACCESS_KEY_ID, READMIT_AWS_SECRET_ACCESS_KEY",
    }
    for program in programs.all_programs(settings):
        if program.address:
            title = program.title.removesuffix(" api-server")
            table.add_row(title, program.address, logins.get(program.name, ""))
    return table


def open_pages(settings: StackSettings) -> Table:
    """Return a table of the pages that other machines reach, and what each asks for."""
    table = Table("open to other machines", "address", "log in with", box=None, pad_edge=False)
    page_addresses = login_proxy.addresses(settings)
    running = {program.name for program in programs.all_programs(settings)}
    for page in login_proxy.PAGES:
        if page.part in running or page.part == "airflow":
            table.add_row(page.title, page_addresses[page.part], page.login)
    return table


def _move_optional_ports(settings: StackSettings, progress: Progress) -> list[BusyPort]:
    """Give optional components free ports in `.env` where theirs are busy; return the busy ones."""
    busy = optional_ports.busy_ports(settings)
    for port in busy:
        progress.console.print(str(port), style="yellow", markup=False)
    optional_ports.move(busy)
    return busy


def main() -> int:
    """Command line of `make up`."""
    parser = argparse.ArgumentParser(prog="python -m stack.up", description=__doc__)
    parser.add_argument("--monitoring", choices=("on", "off"), default="", help="MONITORING=...")
    options = parser.parse_args()
    os.umask(0o077)  # the state holds records of patients
    progress = Progress(expected=EXPECTED_SECONDS)
    try:
        for line in configuration.take_environment():
            progress.console.print(line, markup=False, highlight=False)
        configuration.write_env()
        settings = configuration.stack_settings()
        if configuration.write_api_key(settings):
            settings = configuration.stack_settings()
        configuration.keep_dataset(settings)
        configuration.keep_monitoring(settings, options.monitoring)
        settings = configuration.stack_settings()
        busy = _move_optional_ports(settings, progress)
        settings = configuration.stack_settings()
        outcomes = up(settings, progress, busy)
        release.record(settings.readmit_home)
    except (
        BadSetting,
        CannotStart,
        SetUpFailed,
        PostgresFailed,
        SupervisorFailed,
        readiness.NotReady,
        state_folder.NotOurs,
    ) as error:
        return _fail(progress, str(error).splitlines())
    except (*EXPECTED, AirflowFailed, httpx.HTTPError) as error:
        return _fail(progress, [" ".join(str(error).split())])
    except KeyboardInterrupt:
        return _fail(progress, ["interrupted"])
    _print_results(settings, outcomes, progress)
    return 0


def _print_results(
    settings: StackSettings, outcomes: Sequence[Outcome], progress: Progress
) -> None:
    """Print addresses, times, the verdicts, and where to go on."""
    tables = [addresses(settings), progress.summary()]
    if outcomes:
        tables.append(table(outcomes, settings))
    for shown in tables:
        progress.console.print()
        progress.console.print(shown)
    progress.console.print(summary(outcomes))
    progress.console.print(
        f"\nPasswords: {env_file()} · state and logs: {settings.readmit_home} · stop: make down"
    )
    if login_proxy.is_open(settings):
        progress.console.print()
        progress.console.print(open_pages(settings))
        progress.console.print(
            f"The certificate's sha256 is {login_proxy.fingerprint(settings)}:"
            " compare it when the browser warns. Everything else listens on 127.0.0.1 only."
        )
    if settings.monitoring and not alerting.has_receiver(settings):
        progress.console.print(
            "[dim]Alerts reach nobody: set READMIT_ALERT_WEBHOOK_URL or READMIT_ALERT_EMAIL_TO"
            " (docs/alerts.md)[/]"
        )


def _fail(progress: Progress, lines: list[str]) -> int:
    for line in [*lines, *release.way_back()]:
        progress.error(line)
    progress.console.print(
        "Programs that run keep running. `make up` resumes, `make status` shows them,"
        " `make down` stops them."
    )
    return 1


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
