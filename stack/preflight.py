"""What must be true before the stack starts; each problem is one line that says what to do."""

import os
import shutil
import socket
from pathlib import Path

from readmit import open_files
from readmit.errors import SourceRefused
from readmit.intake import source_file
from readmit.settings import StackSettings
from stack import processes
from stack.programs import Program, server, store

DISK_GB = 6.0
# A stack that was started before has what it needs; this is for its next batches and logs.
RESUME_GB = 1.0
MEMORY_GB = 6.0


def problems(settings: StackSettings, programs: list[Program], running: set[str]) -> list[str]:
    """Return what stands in the way of a start; programs in `running` hold their own ports."""
    least = RESUME_GB if server(settings).data.exists() else DISK_GB
    found = [
        missing_tools(),
        open_files.raise_limit(),
        not_enough_disk(settings.readmit_home, least),
    ]
    if not running:
        found.append(not_enough_memory())
    found += [taken_port(program) for program in programs if program.name not in running]
    if "s3" not in running:
        found.append(foreign_socket(store(settings).sockets))
    found.append(missing_dataset(settings.dataset))
    return [problem for problem in found if problem] + same_port_twice(programs)


def missing_tools() -> str:
    """As root, Postgres is started under another user by `setpriv`."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv is missing (Postgres must not run as root): apt-get install util-linux, or run as another user"
    return ""


def not_enough_disk(folder: Path, least: float = DISK_GB) -> str:
    """Name the folder and what it has when less than `least` GB are free."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free >= least:
        return ""
    return f"{free:.1f} GB are free at {there}, {least:.0f} GB are needed: free some, or set READMIT_HOME to another disk"


def not_enough_memory(least: float = MEMORY_GB) -> str:
    """Say what is available when it is less than `least` GB."""
    available = available_memory_gb()
    if available >= least:
        return ""
    return (
        f"{available:.1f} GB of memory are available, {least:.0f} GB are needed: end other programs"
    )


def available_memory_gb(
    meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> float:
    """Return the memory that can be had, in GB: the machine's, or the container's limit when that is less."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(available, int(text) / 1e9)
    return available


def taken_port(program: Program) -> str:
    """Name the port, who holds it, and the variable that moves it."""
    for variable, ports in program.ports.items():
        for port in ports:
            if not _is_free(port):
                who = processes.holder(port) or "another program"
                return f"port {port} for {program.title} is taken by {who}: end it, or set {variable} in .env"
    return ""


def foreign_socket(sockets: list[Path]) -> str:
    """Name a socket of another user's object store: ours would wait for it for ever."""
    for path in sockets:
        if path.exists() and path.stat().st_uid != os.geteuid() != 0:
            return f"{path} is another user's: have it removed, or set S3_PORT in .env"
    return ""


def same_port_twice(programs: list[Program]) -> list[str]:
    """Name two components that would listen on the same port."""
    owner: dict[int, Program] = {}
    found = []
    for program in programs:
        for variable, ports in program.ports.items():
            for port in ports:
                if port in owner and owner[port] is not program:
                    found.append(
                        f"port {port} is set for {owner[port].title} and {program.title}: change {variable}"
                    )
                owner.setdefault(port, program)
    return found


def missing_dataset(dataset: str | None) -> str:
    """A path that leads to no file is told before anything is installed or started."""
    try:
        if dataset:
            source_file.check(dataset)
    except SourceRefused as refusal:
        return f"DATASET: {refusal}"
    return ""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
