"""`make doctor`: what this machine, its environment, ports and versions, and a running stack need.

A line begins with `ok`, with `note` (something works in another way than usual) or with `fail`,
which stops `make up` or has stopped a part; such a line says what to do. Nothing is changed.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from dotenv import dotenv_values

from readmit import inherited_environment
from readmit.command import explained
from readmit.settings import PREFIX, ROOT, StackSettings, all_names, env_file, old_names
from stack import machine, optional_ports, preflight, programs, status
from stack.configuration import stack_settings
from stack.supervisor import Supervisor

PYTHONS = ((3, 11), (3, 12), (3, 13))  # as in stack/install.sh


@dataclass(frozen=True)
class Finding:
    """One line of the report; `verdict` is `ok`, `note` or `fail`."""

    verdict: str
    text: str


def findings(settings: StackSettings) -> Iterator[Finding]:
    """Yield all findings, in the order machine, versions, environment, ports, running stack."""
    running = Supervisor(settings).running()
    listed = programs.all_programs(settings)
    yield from _machine(settings)
    yield from _versions()
    yield from _environment()
    busy = optional_ports.busy_ports(settings)
    for port in busy:
        yield Finding("note", f"make up: {port}")
    moved = {port.variable for port in busy}
    problems = preflight.problems(settings, listed, running, moved)
    for problem in problems:
        yield Finding("fail", f"make up refuses: {problem}")
    if not problems:
        yield Finding("ok", "make up finds nothing that stops it")
    for line in programs.installation_hints(settings):
        yield Finding("note", line)
    yield from _running_stack(settings, running)


def _machine(settings: StackSettings) -> Iterator[Finding]:
    folder = machine.temporary_folder()
    if machine.is_usable(folder):
        yield Finding("ok", f"{folder} takes files and runs them")
    else:
        yield Finding(
            "note", f"{folder} is read-only or noexec: {settings.readmit_home / 'tmp'} is used"
        )
    if machine.user_name():
        yield Finding("ok", f"runs as {machine.user_name()}")
    else:
        yield Finding(
            "note",
            f"the user id {os.geteuid()} has no name: programs get {machine.NAMELESS_USER}",
        )
    available_gb = preflight.available_memory_gb()
    yield Finding("ok", f"{available_gb:.1f} GB of memory available, {os.cpu_count()} processors")


def _versions() -> Iterator[Finding]:
    version = ".".join(str(number) for number in sys.version_info[:3])
    if sys.version_info[:2] in PYTHONS:
        yield Finding("ok", f"Python {version}")
    else:
        yield Finding("fail", f"Python {version} is not 3.11, 3.12 or 3.13: set PYTHON=path")
    stamp = ROOT / ".venv" / ".lock-sha256"
    lock = sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text().strip() == lock:
        yield Finding("ok", "the installed packages are those of requirements.lock")
    else:
        yield Finding("note", "the packages are not those of requirements.lock: make env")


def _environment() -> Iterator[Finding]:
    path = env_file()
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("fail", f"{path} holds secrets and others may read it: chmod 600 {path}")
    names = sorted(name for name in all_names() & set(os.environ) if os.environ[name])
    if names:
        yield Finding(
            "note",
            f"the environment sets {', '.join(names)}: they win over {path}, where make up stores"
            " them",
        )
    before = sorted(old_names().keys() & dotenv_values(path).keys())
    if before:
        yield Finding(
            "note", f"{path} has names of before 0.2.0, without READMIT_: {', '.join(before)}"
        )
    proxies = [
        name.removeprefix(PREFIX).lower() for name in inherited_environment.proxies(os.environ)
    ]
    if proxies:
        yield Finding("note", f"a proxy is set ({', '.join(proxies)})")
    if shutil.which("make") is None:
        yield Finding("fail", "make is not on the PATH: apt-get install make")


def _running_stack(settings: StackSettings, running: set[str]) -> Iterator[Finding]:
    if not running:
        yield Finding("note", "the stack is not running: make up")
        return
    for row in status.components(settings):
        if row["up"]:
            yield Finding("ok", f"{row['title']} is up")
        else:
            log = Path("log") / f"{row['name']}.log"
            error = row["last_error"] or "no error in its log"
            yield Finding(
                "fail",
                f"{row['title']} is {row['state'].lower()}: {error}"
                f" (see {settings.readmit_home / log}; make up starts it)",
            )


def report(lines: Sequence[Finding]) -> int:
    """Print the findings and return the exit code: 1 when one of them is a failure."""
    for finding in lines:
        print(f"{finding.verdict:<5} {finding.text}")
    return int(any(finding.verdict == "fail" for finding in lines))


@explained
def main() -> int:
    """Command line of `make doctor`."""
    return report(list(findings(stack_settings())))


if __name__ == "__main__":
    inherited_environment.forget_the_shell()
    sys.exit(main())
