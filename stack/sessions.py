"""Find the processes of a stack by their session, also after the supervisor was killed.

Each program leads its own session (`stack.supervisord`), whose number is stored on disk. A child
inherits the session and keeps it when its parent ends, and every user may read the number.
The variables `HOME_MARK` and `PROGRAM_MARK` mark the processes too, but other processes cannot read
the environment of Airflow's task supervisors.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from stack import processes
from stack.programs import HOME_MARK, PROGRAM_MARK

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A process may start another one before it ends.
ATTEMPTS = 3


@dataclass(frozen=True)
class Session:
    """A session, with enough data to tell its leader from a later process with the same number.

    `leader` is the leader's process id. `started` is its start in clock ticks since the boot:
    unlike psutil's time of day, it stays the same when the clock is set.
    """

    leader: int
    started: int
    boot_id: str

    def members(self, marks: dict[str, str]) -> list[psutil.Process]:
        """Return the processes of this session.

        The kernel does not reuse the number while a process of the session lives, but it may do so
        after the last one ended. So when the leader is gone, a process belongs to this session only
        if its environment has `marks`, or if it is unreadable and the process is this user's.
        """
        leader_start = start_ticks(self.leader)
        if self.boot_id != BOOT_ID.read_text().strip() or leader_start not in (None, self.started):
            return []
        members = []
        for process in psutil.process_iter():
            if session_of(process) != self.leader:
                continue
            if leader_start is not None or _is_ours(process, marks):
                members.append(process)
        return members


def record(home: Path, program: str) -> None:
    """Store the session of this process, which is about to become `program`."""
    leader = os.getsid(0)
    session = Session(leader, start_ticks(leader) or 0, BOOT_ID.read_text().strip())
    path = _folder(home) / program
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(session)), encoding="utf-8")
    part.replace(path)


def recorded(home: Path, program: str = "*") -> list[Session]:
    """Return the stored sessions of a program, or of all programs."""
    sessions = []
    for path in _folder(home).glob(program):
        try:
            sessions.append(Session(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):  # the disk was full when it was written
            continue
    return sessions


def processes_of(home: Path, program: str = "") -> list[psutil.Process]:
    """Return the processes of a stack, or of one of its programs.

    This process and its parents are not among them.
    """
    marks = {HOME_MARK: str(home)}
    if program:
        marks[PROGRAM_MARK] = program
    roots = processes.marked(marks)
    for session in recorded(home, program or "*"):
        roots += session.members(marks)
    members: set[psutil.Process] = set()
    for root in roots:
        members.update(processes.family(root.pid))
    myself = psutil.Process()
    members -= {myself, *myself.parents()}
    running = filter(processes.is_running, members)
    return sorted(running, key=lambda process: process.pid)


def end(home: Path, program: str = "", seconds: float = 5) -> None:
    """End the processes of a stack, or of one of its programs, and those that they start."""
    for _ in range(ATTEMPTS):
        remaining = processes_of(home, program)
        if not remaining:
            return
        processes.end(remaining, seconds)


def forget(home: Path) -> None:
    """Remove the stored sessions of a stack that has stopped."""
    shutil.rmtree(_folder(home), ignore_errors=True)


def session_of(process: psutil.Process) -> int | None:
    """Return the session number of a process, or None when the process has ended."""
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def start_ticks(pid: int) -> int | None:
    """Return a process' start in clock ticks since the boot, or None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19])


def _is_ours(process: psutil.Process, marks: dict[str, str]) -> bool:
    variables = processes.environment(process)
    if variables is not None:
        return marks.items() <= variables.items()
    try:
        return bool(process.uids().real == os.getuid())
    except psutil.NoSuchProcess:
        return False


def _folder(home: Path) -> Path:
    return home / "sessions"
