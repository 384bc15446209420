"""Is a program ready? Asked of the program itself, never guessed from time."""

import re
import time
from collections.abc import Callable

import httpx

from readmit.settings import StackSettings
from stack.programs import Program, server
from stack.supervisor import Supervisor

# Level names as the programs write them: Postgres, Go's logs, Python's logs and the last line of a traceback.
ERROR = re.compile(
    r"\b(ERROR|FATAL|PANIC|CRITICAL)\b(?!=)|\[error\s*\]|level=error|^[EF]\d{4} |^[\w.]*(Error|Exception)\b"
)
# Lines at such a level that tell of no failure, from a stack that works.
HARMLESS = re.compile(
    "|".join(
        (
            r'duplicate key value violates unique constraint "metric_pk"',  # MLflow: a value is already there
            r'relation "log" does not exist',  # Airflow: it looks before its tables are made
            r"no signing key found for STS service",  # SeaweedFS: temporary credentials are not in use
            r"\] +XCom not found ",  # Airflow: a task that waits asks before there is an answer
            r"\[task\.stderr\]$",  # Airflow: whatever a task writes there; one that fails says so in a line of its own
            r"FATAL: +the database system is (starting up|shutting down|not yet accepting connections)",
            r"terminating connection due to administrator command",
        )
    )
)


class NotReady(Exception):
    """A program did not get ready in time; the message names it and the end of its log."""


def is_ready(program: Program, settings: StackSettings) -> bool:
    """Tell whether a program does its work."""
    if program.name == "postgres":
        return server(settings).is_ready()
    url, _, part = program.health.partition("#")
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    if answer.status_code != httpx.codes.OK:
        return False
    return not part or _airflow_part(answer, part.removeprefix("airflow-").replace("-", "_"))


def _airflow_part(answer: httpx.Response, part: str) -> bool:
    """Airflow's api-server reports the heartbeats of the other three."""
    known = answer.json().get(part)
    return bool(known and known.get("status") == "healthy")


def wait(
    programs: list[Program],
    settings: StackSettings,
    supervisor: Supervisor,
    seconds: float,
    show: Callable[[str], None],
) -> None:
    """Wait until all programs are ready, and say which ones are waited for.

    Raises:
        NotReady: one was not ready after `seconds`, or the supervisor gave it up.
    """
    deadline = time.monotonic() + seconds
    waiting = list(programs)
    while waiting := [program for program in waiting if not is_ready(program, settings)]:
        show("waiting for " + ", ".join(program.title for program in waiting))
        states = supervisor.states()
        dead = [
            program
            for program in waiting
            if states.get(program.name, {}).get("statename") == "FATAL"
        ]
        if dead or time.monotonic() > deadline:
            raise NotReady(_explain((dead or waiting)[0], settings, seconds))
        time.sleep(0.3)


def last_error(name: str, settings: StackSettings) -> str:
    """Return the last line of a program's log that tells of a failure, or an empty text."""
    path = settings.readmit_home / "log" / f"{name}.log"
    try:
        lines = path.read_bytes()[-200_000:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    found = [line for line in lines if ERROR.search(line) and not HARMLESS.search(line)]
    return found[-1].strip() if found else ""


def _explain(program: Program, settings: StackSettings, seconds: float) -> str:
    log = settings.readmit_home / "log" / f"{program.name}.log"
    said = last_error(program.name, settings) or "no error in its log"
    return f"{program.title} is not ready after {seconds:.0f} s: {said}\n  its log: {log}"
