"""Which processes belong to a stack: found by their session, also after the supervisor was killed.

Each program leads a session of its own (`stack.supervisord`), and its number is kept on disk. Every
child inherits the session, whatever becomes of its parent, and any user may ask for it. The mark in
a process' environment says the same, but Airflow's task supervisors close theirs to other processes.
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
# A process may start another while it is being ended.
ATTEMPTS = 3


@dataclass(frozen=True)
class Session:
    """A session: the number of its leader, and what tells this leader from a later process of its number.

    `started` is the leader's start in clock ticks since the machine booted: unlike the time of day
    that psutil makes of it, it stays the same when the clock is set.
    """

    leader: int
    started: int
    boot_id: str

    def members(self, marks: dict[str, str]) -> list[psutil.Process]:
        """Return the processes of this session.

        The kernel gives a number to no other process while one of its session lives. When the leader
        is gone, the number may have been given away after the last member ended: then a process
        counts when it carries `marks`, or when its environment is closed and it is this user's.
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
    """Keep the session of this process, which is about to become `program`."""
    leader = os.getsid(0)
    session = Session(leader, start_ticks(leader) or 0, BOOT_ID.read_text().strip())
    path = _folder(home) / program
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(session)), encoding="utf-8")
    part.replace(path)


def recorded(home: Path, program: str = "*") -> list[Session]:
    """Return the sessions of a program, or of all."""
    sessions = []
    for path in _folder(home).glob(program):
        try:
            sessions.append(Session(**json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError):  # a disk that was full
            continue
    return sessions


def processes_of(home: Path, program: str = "") -> list[psutil.Process]:
    """Return the processes of a stack, or of one program of it; this one and its parents excepted."""
    marks = {HOME_MARK: str(home)}
    if program:
        marks[PROGRAM_MARK] = program
    roots = processes.marked(marks)
    for session in recorded(home, program or "*"):
        roots += session.members(marks)
    members = {member for root in roots for member in processes.family(root.pid)}
    myself = psutil.Process()
    members -= {myself, *myself.parents()}
    return sorted(filter(processes.is_running, members), key=lambda process: process.pid)


def end(home: Path, program: str = "", seconds: float = 5) -> None:
    """End the processes of a stack, or of one program of it, and those that they start meanwhile."""
    for _ in range(ATTEMPTS):
        remaining = processes_of(home, program)
        if not remaining:
            return
        processes.end(remaining, seconds)


def forget(home: Path) -> None:
    """Remove the records of a stack of which nothing runs any more."""
    shutil.rmtree(_folder(home), ignore_errors=True)


def session_of(process: psutil.Process) -> int | None:
    """Return the number of a process' session, or None when it has ended."""
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot, or None when it has ended."""
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
