"""Health checks: whether a program is ready, and the last error in its log."""

import json
import re
import time
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import httpx

from readmit.settings import StackSettings
from stack import web_logins
from stack.programs import Program, server
from stack.supervisor import Supervisor

# A busy machine is slow to answer; a program that hangs never does.
SECONDS_TO_ANSWER = 10
# For checks all day long: a request of httpx prepares TLS, which takes 20 ms of the processor.
WITHOUT_PROXY = build_opener(ProxyHandler({}))
# Level names of Postgres, of Go's and Python's loggers, and the last line of a traceback.
ERROR = re.compile(
    r"\b(ERROR|FATAL|PANIC|CRITICAL)\b(?!=)|\[error\s*\]|level=error"
    r"|^[EF]\d{4} |^[\w.]*(Error|Exception)\b"
)
# Lines of such a level that a working stack writes.
HARMLESS = re.compile(
    "|".join(
        (
            # MLflow: the value is stored already.
            r'duplicate key value violates unique constraint "metric_pk"',
            # Airflow: it reads the table before it creates it.
            r'relation "log" does not exist',
            # SeaweedFS: temporary credentials are not used.
            r"no signing key found for STS service",
            # Airflow: a waiting task reads the value before another task has written it.
            r"\] +XCom not found ",
            # Airflow: the stderr of a task. A task that fails has a log line of its own.
            r"\[task\.stderr\]$",
            r"FATAL: +the database system is (starting up|shutting down)",
            r"FATAL: +the database system is not yet accepting connections",
            r"terminating connection due to administrator command",
        )
    )
)


class NotReady(Exception):
    """A program did not get ready in time; the message names it and its last error."""


@cache
def _http() -> httpx.Client:
    """Return a client for all checks: each one prepares TLS, 20 ms of the processor.

    With a client per check `make up` would be the third busiest process of its own start.
    """
    return httpx.Client(timeout=5, trust_env=False)


def is_ready(program: Program, settings: StackSettings) -> bool:
    """Return whether the health check of a program succeeds."""
    if program.name == "postgres":
        return server(settings).is_ready()
    if not program.health:
        return True
    url, _, part = program.health.partition("#")
    try:
        login = web_logins.login_of(program.name, settings)
        response = _http().get(url, auth=login)
    except httpx.HTTPError:
        return False
    if response.status_code != httpx.codes.OK:
        return False
    if not part:
        return True
    return _has_heartbeat(response.json(), part)


def is_alive(program: Program, settings: StackSettings) -> bool:
    """Return whether a program answers at all, be it with an error.

    A part of Airflow is alive when its heartbeat is fresh, or when the api-server cannot tell.
    """
    if program.name == "postgres":
        return server(settings).answers(SECONDS_TO_ANSWER)
    url, _, part = program.health.partition("#")
    try:
        with WITHOUT_PROXY.open(url, timeout=SECONDS_TO_ANSWER) as response:
            if not part:
                return True
            health = json.load(response)
    except HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False
    if health.get("metadatabase", {}).get("status") != "healthy":
        return True
    return _has_heartbeat(health, part)


def _has_heartbeat(health: dict[str, Any], part: str) -> bool:
    """Return whether Airflow's api-server has seen a recent heartbeat of one of its programs."""
    heartbeat = health.get(part.removeprefix("airflow-").replace("-", "_"))
    return bool(heartbeat and heartbeat.get("status") == "healthy")


def wait(
    programs: list[Program],
    settings: StackSettings,
    supervisor: Supervisor,
    seconds: float,
    show: Callable[[str], None],
) -> None:
    """Wait until all programs are ready, and show the ones that are not.

    Raises:
        NotReady: a program was not ready after `seconds`, or the supervisor gave up on it.
    """
    deadline = time.monotonic() + seconds
    waiting = list(programs)
    while waiting := [program for program in waiting if not is_ready(program, settings)]:
        titles = [program.title for program in waiting]
        show(f"waiting for {', '.join(titles)}")
        states = supervisor.states()
        for program in waiting:
            if states.get(program.name, {}).get("statename") == "FATAL":
                raise NotReady(_explain(program, settings, seconds))
        if time.monotonic() > deadline:
            raise NotReady(_explain(waiting[0], settings, seconds))
        time.sleep(0.2)


def last_error(name: str, settings: StackSettings) -> str:
    """Return the last line of a program's log that reports an error, or an empty text."""
    path = settings.readmit_home / "log" / f"{name}.log"
    try:
        lines = path.read_bytes()[-200_000:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        if ERROR.search(line) and not HARMLESS.search(line):
            return line.strip()
    return ""


def _explain(program: Program, settings: StackSettings, seconds: float) -> str:
    log = settings.readmit_home / "log" / f"{program.name}.log"
    error = last_error(program.name, settings) or "no error in its log"
    return f"{program.title} is not ready after {seconds:.0f} s: {error}\n  its log: {log}"
