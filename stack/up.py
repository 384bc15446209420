"""`make up`: check, start in order of readiness, set up, run the pipeline until a model is served, print the addresses.

Every step looks at what is there and does what is missing, so a second run resumes and changes nothing.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from psycopg2 import OperationalError
from rich.table import Table

from readmit import db, storage
from readmit.command import EXPECTED
from readmit.intake import sources
from readmit.ops import bootstrap
from readmit.settings import ROOT, BadSetting, StackSettings, env_file
from stack import configuration, pipeline, preflight, programs, readiness
from stack.airflow_api import Airflow, AirflowFailed
from stack.postgres import PostgresFailed
from stack.programs import AIRFLOW_PROGRAMS, Program
from stack.progress import Progress
from stack.supervisor import Supervisor, SupervisorFailed

STORAGE = ("postgres", "s3")
CORE = ("mlflow", *AIRFLOW_PROGRAMS)
# Where the times of a `make up` that had batches to publish are kept, below READMIT_HOME.
TIMES = "up.json"
# Far above what 2 quiet cores need (30 s for the slowest): a busy machine is slow, not broken.
SECONDS = {"storage": 180.0, "core": 420.0, "rest": 300.0, "model": 300.0}


class CannotStart(Exception):
    """The machine is not ready; the message has one line per problem."""


class SetUpFailed(Exception):
    """A program that sets something up failed; the message holds what it said."""


def up(settings: StackSettings, progress: Progress) -> int:
    """Bring everything up and wait until a model is served; returns how many batches were waiting."""
    listed = programs.all_programs(settings)
    by_name = {program.name: program for program in listed}
    supervisor = Supervisor(settings)
    with progress.phase("checking the machine"):
        _check(settings, listed, supervisor)
    with progress.phase("starting Postgres and S3"):
        _start_supervisor(settings, listed, supervisor)
        _start([by_name[name] for name in STORAGE], settings, supervisor, progress, "storage")
    with progress.phase("setting up databases, buckets and Airflow"):
        _set_up(settings, progress)
    with progress.phase("starting MLflow and Airflow"):
        for program in listed:
            supervisor.ensure(program.name)
        _start([by_name[name] for name in CORE], settings, supervisor, progress, "core")
    _adopt_production(settings)
    published = _run_pipeline(settings, progress)
    with progress.phase("waiting for the API, the web form and the docs site"):
        readiness.wait(listed, settings, supervisor, SECONDS["rest"], progress.show)
        wait_for_model(settings, progress, SECONDS["model"])
    progress.console.print(f"{published} batches were waiting and are done")
    return published


def keep_times(settings: StackSettings, progress: Progress, batches: int) -> None:
    """Keep how long this `make up` took, for `make bench`."""
    known = {"batches": batches, "seconds": progress.elapsed(), "phases": progress.seconds}
    (settings.readmit_home / TIMES).write_text(json.dumps(known, indent=1), encoding="utf-8")


def _check(settings: StackSettings, listed: list[Program], supervisor: Supervisor) -> None:
    running = {
        name
        for name, state in supervisor.states().items()
        if state["statename"] in ("RUNNING", "STARTING")
    }
    if problems := preflight.problems(settings, listed, running):
        raise CannotStart("\n".join(problems))


def _start_supervisor(
    settings: StackSettings, listed: list[Program], supervisor: Supervisor
) -> None:
    programs.server(settings).initialise(programs.reveal(settings.postgres_password))
    programs.store(settings).prepare()
    configuration.write_files(settings, listed)
    if not supervisor.start():
        supervisor.apply()


def _start(
    wanted: list[Program],
    settings: StackSettings,
    supervisor: Supervisor,
    progress: Progress,
    group: str,
) -> None:
    for program in wanted:
        supervisor.ensure(program.name)
    readiness.wait(wanted, settings, supervisor, SECONDS[group], progress.show)


def _set_up(settings: StackSettings, progress: Progress) -> None:
    progress.show("databases and roles")
    try:
        bootstrap.bootstrap(settings)
    except OperationalError as error:
        home = programs.server(settings).home
        raise SetUpFailed(
            f"{error}If .env is new: the state in {home} has the old passwords (make clean)"
        ) from error
    progress.show("buckets")
    storage.ensure_buckets(settings)
    progress.show("Airflow's tables")
    _run(settings, "airflow-migrate", "airflow", "db", "migrate")
    if _manifest_is_old():
        progress.show("dbt's manifest")
        folder = str(ROOT / "dbt_project")
        _run(
            settings,
            "dbt-parse",
            "dbt.cli.main",
            "parse",
            "--project-dir",
            folder,
            "--profiles-dir",
            folder,
        )


def _adopt_production(settings: StackSettings) -> None:
    """Sign the version in production after an upgrade from a release without signatures."""
    query = (
        "select exists (select from ops.promotions where decision <> 'keep')"
        " and not exists (select from ops.promotions where signed_statement is not null)"
    )
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(query)
        [(is_unsigned,)] = cur.fetchall()
    if is_unsigned:
        _run(settings, "adopt", "training.adopt")


def _manifest_is_old() -> bool:
    project = ROOT / "dbt_project"
    manifest = Path(os.environ.get("DBT_TARGET_PATH", project / "target")) / "manifest.json"
    if not manifest.exists():
        return True
    made = manifest.stat().st_mtime
    generated = {"target", "logs", "dbt_packages"}
    files = (
        path for path in project.rglob("*") if path.relative_to(project).parts[0] not in generated
    )
    return any(path.is_file() and path.stat().st_mtime > made for path in files)


def _run(settings: StackSettings, name: str, *module: str) -> None:
    """Run a Python module with the environment that the programs get."""
    environment = (
        os.environ | programs.shared_environment(settings) | programs.airflow_environment(settings)
    )
    done = subprocess.run(
        [sys.executable, "-m", *module],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    log = settings.readmit_home / "log" / f"{name}.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise SetUpFailed(
            f"{name}: {said[-1] if said else 'failed without a word'} (its log: {log})"
        )


def _run_pipeline(settings: StackSettings, progress: Progress) -> int:
    airflow = Airflow(settings)
    with progress.phase("reading the source file"):
        sources.ensure_source(settings)
    with progress.phase("reading the DAG files"):
        pipeline.unpause(airflow, progress.show)
    with progress.phase("publishing batches"):
        published = pipeline.publish_waiting(airflow, settings, progress.show)
    with progress.phase("training"):
        pipeline.train(airflow, settings, progress.show, published)
    return published


def wait_for_model(settings: StackSettings, progress: Progress, seconds: float) -> None:
    """Wait until the API serves the model in production."""
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{settings.api_url}/readyz", timeout=5)
            if answer.is_success:
                return
            said = answer.text[:300]
        except httpx.HTTPError as error:
            said = str(error)
        progress.show("waiting for the API to take up the model")
        time.sleep(0.5)
    raise readiness.NotReady(f"the API does not serve a model after {seconds:.0f} s: {said}")


def addresses(settings: StackSettings) -> Table:
    """Return the table of addresses."""
    table = Table("what", "address", "log in with", box=None, pad_edge=False)
    who = {
        "airflow-api-server": "admin, AIRFLOW_ADMIN_PASSWORD",
        "grafana": "admin, GRAFANA_ADMIN_PASSWORD",
        "postgres": "each role, <ROLE>_PASSWORD",
        "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
    }
    for program in programs.all_programs(settings):
        if program.address:
            title = "Airflow" if program.name == "airflow-api-server" else program.title
            table.add_row(title, program.address, who.get(program.name, ""))
    return table


def main() -> int:
    """Command line of `make up`."""
    progress = Progress()
    try:
        configuration.write_env()
        settings = configuration.stack_settings()
        configuration.keep_dataset(settings)
        published = up(settings, progress)
        if published:
            keep_times(settings, progress, published)
    except (
        BadSetting,
        CannotStart,
        SetUpFailed,
        PostgresFailed,
        SupervisorFailed,
        readiness.NotReady,
    ) as error:
        return _fail(progress, str(error).splitlines())
    except (*EXPECTED, AirflowFailed, httpx.HTTPError) as error:
        return _fail(progress, [" ".join(str(error).split())])
    except KeyboardInterrupt:
        return _fail(progress, ["interrupted"])
    for table in (addresses(settings), progress.summary()):
        progress.console.print()
        progress.console.print(table)
    progress.console.print(
        f"\nPasswords: {env_file()} · state and logs: {settings.readmit_home} · stop: make down"
    )
    for line in programs.what_is_missing():
        progress.console.print(f"[dim]{line}[/]")
    return 0


def _fail(progress: Progress, lines: list[str]) -> int:
    for line in lines:
        progress.error(line)
    progress.console.print(
        "What runs already keeps running: `make up` goes on from here, `make status`, `make down`."
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
