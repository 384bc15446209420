"""`python -m stack.postgres_major BIN`: bring the data to the installed major version of Postgres.

BIN holds the programs of the version that wrote the data, such as /usr/lib/postgresql/15/bin. The
stack must be stopped. pg_upgrade copies the files where both versions keep checksums or neither
does; otherwise, and when it fails, everything is dumped and restored. The old data
stays as `postgres-before` below the state folder.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from readmit import db
from readmit.command import explained
from readmit.settings import StackSettings
from stack import postgres, processes
from stack.configuration import stack_settings
from stack.postgres import PostgresFailed, Server
from stack.programs import server

SECONDS_TO_START = 60.0
WITHOUT_CHECKSUMS = re.compile("^Data page checksum version: +0$", re.MULTILINE)
# pg_dumpall creates the role that runs the restore, too; Debian's 15.20 numbers columns for itself.
HARMLESS = re.compile(
    r'ERROR: +(role "postgres" already exists|unrecognized parameter "pg_attver")'
)


def upgrade(settings: StackSettings, old_programs: Path) -> str:
    """Replace the data directory by one of the installed version with the same databases.

    Args:
        settings: the settings of the stack.
        old_programs: the folder of the old version's programs.

    Returns:
        The way that was taken: `pg_upgrade` or `dump and restore`.

    Raises:
        PostgresFailed: a program failed; the data is as it was.
    """
    present = server(settings)
    if present.pid() is not None:
        raise PostgresFailed("Postgres runs: make down")
    password = db.password("postgres", settings)
    before = present.home / "postgres-before"
    if before.exists():
        raise PostgresFailed(f"{before} exists, from an earlier upgrade: move it away or delete it")
    workplace = present.home / "postgres-next"
    shutil.rmtree(workplace, ignore_errors=True)
    fresh = Server(workplace, settings.postgres_port)
    try:
        fresh.initialise(password)
        control = [str(old_programs / "pg_controldata"), str(present.data)]
        has_checksums = WITHOUT_CHECKSUMS.search(_run(control, present.home, {})) is None
        way = "dump and restore"
        if has_checksums:
            try:
                _copy(present, fresh, old_programs, password)
                way = "pg_upgrade"
            except PostgresFailed as error:
                print(f"pg_upgrade gives up, so the data is dumped and restored: {error}")
                shutil.rmtree(workplace)
                fresh.initialise(password)
        if way == "dump and restore":
            _dump_and_restore(present, fresh, old_programs, password)
        present.data.rename(before)
        fresh.data.rename(present.data)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return way


def _copy(present: Server, fresh: Server, old_programs: Path, password: str) -> None:
    """Run pg_upgrade in a folder of the user that runs Postgres: it leaves its log there."""
    with tempfile.TemporaryDirectory(dir=fresh.home, prefix="log-") as folder:
        postgres.give_to_ordinary_user(Path(folder))
        new_programs = postgres.binary("postgres").parent
        options = ["-U", "postgres", "-b", str(old_programs), "-B", str(new_programs)]
        folders = ["-d", str(present.data), "-D", str(fresh.data), "--socketdir", folder]
        _run(
            [str(postgres.binary("pg_upgrade")), *options, *folders],
            Path(folder),
            {"PGPASSWORD": password},
        )


def _dump_and_restore(present: Server, fresh: Server, old_programs: Path, password: str) -> None:
    """Copy everything by SQL from a server of the old version to one of the installed one."""
    dump = fresh.data.parent / "dump.sql"
    login = {"PGPASSWORD": password}
    client = ["-h", "127.0.0.1", "-p", str(present.port), "-U", "postgres"]
    # Nobody may read the file: it holds every row, and hashes of passwords.
    dump.touch(mode=0o600)
    postgres.give_to_ordinary_user(dump)
    old = [str(old_programs / "postgres"), "-D", str(present.data), "-p", str(present.port)]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    old_server = processes.start(
        [*postgres.as_ordinary_user(), *old, *options],
        present.home / "postgres.log",
        postgres.environment(),
        present.is_ready,
        seconds=SECONDS_TO_START,
        start_new_session=True,
    )
    try:
        pg_dumpall = [str(postgres.binary("pg_dumpall")), *client, "-f", str(dump)]
        _run(pg_dumpall, fresh.home, login)
    finally:
        present.stop()
        old_server.wait()
    new_server = fresh.start()
    try:
        psql = [str(postgres.binary("psql")), *client, "-q", "-X", "-d", "postgres", "-f"]
        _run([*psql, str(dump)], fresh.home, login, harmless=HARMLESS)
    finally:
        fresh.stop()
        new_server.wait()


def _run(
    command: list[str],
    folder: Path,
    login: dict[str, str],
    harmless: re.Pattern[str] | None = None,
) -> str:
    """Run a program of Postgres as the user that runs Postgres, and return what it printed."""
    process = subprocess.run(
        [*postgres.as_ordinary_user(), *command],
        cwd=folder,
        env=postgres.environment() | login,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in process.stderr.splitlines() if "ERROR:" in line]
    if harmless is not None:
        errors = [line for line in errors if not harmless.search(line)]
    if process.returncode != 0 or errors:
        output = (process.stdout + process.stderr).strip()
        raise PostgresFailed(f"{Path(command[0]).name} failed: {(errors or [output[-1500:]])[0]}")
    return process.stdout


@explained
def main() -> int:
    """Command line."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    settings = stack_settings()
    try:
        way = upgrade(settings, Path(sys.argv[1]).resolve())
    except (PostgresFailed, processes.NotReady) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    before = server(settings).home / "postgres-before"
    print(f"the data is of the installed Postgres ({way}); the old data is {before}: make up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
