"""`make backup` and `make restore FROM=...` on one machine; docs/backup.md tells how.

A restore needs the databases for itself, so it starts Postgres and the object store alone and stops
them at its end. `make up` then starts the stack on what was restored.
"""

import argparse
import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.ops import backup, erasure
from readmit.ops.backup_folder import BackupFailed
from readmit.ops.erased_rows import RebuildUnderWay
from readmit.ops.erasure import RestoreUnderWay
from readmit.settings import StackSettings
from stack import configuration, machine, programs, readiness, state_folder
from stack.down import stop
from stack.progress import Progress
from stack.supervisor import Supervisor

STORAGE = ("postgres", "s3")
SECONDS_TO_START = 180.0


def save(settings: StackSettings) -> Path:
    """Write a backup, report it to the Pushgateway, and return its folder.

    Raises:
        BackupFailed: it could not be made; the ones before stay.
    """
    path = backup.save(settings.backup_folder(), settings)
    if settings.pushgateway_url is None and shutil.which("prometheus-pushgateway"):
        url = f"http://127.0.0.1:{settings.pushgateway_port}"
        settings = settings.model_copy(update={"pushgateway_url": url})
    backup.report(settings)
    return path


def restore(path: Path, settings: StackSettings, progress: Progress, is_forced: bool) -> None:
    """Restore a backup into a stack that is stopped, or was never started.

    Raises:
        BackupFailed: programs run, or the backup cannot be restored; nothing was changed.
    """
    supervisor = Supervisor(settings)
    running = sorted(supervisor.running() - {*STORAGE})
    if running:
        raise BackupFailed(
            f"the stack runs ({', '.join(running)}): stop it first (make down), for a restore"
            " replaces the databases and ends every connection to them"
        )
    with progress.phase("reading the backup"):
        backup.check(path, settings)
    try:
        with progress.phase("starting Postgres and S3"):
            _start_storage(settings, supervisor, progress)
        with progress.phase("restoring, verifying, switching"):
            backup.restore_from(path, settings, settings.model_public_key, is_forced)
        with progress.phase("erasing patients again who were erased after the backup"):
            removed = erasure.erase_again(getpass.getuser(), settings)
            if removed:
                print(f"erased again: {removed['patients']} patients")
    finally:
        stop(settings)


def _start_storage(settings: StackSettings, supervisor: Supervisor, progress: Progress) -> None:
    """Start the databases and the object store, and nothing else."""
    state_folder.claim(settings.readmit_home)
    os.environ.update(machine.environment(settings.readmit_home))
    programs.server(settings).initialise(programs.reveal(settings.postgres_password))
    programs.store(settings).prepare(programs.identities(settings))
    listed = programs.all_programs(settings)
    configuration.write_files(settings, listed)
    if not supervisor.start():
        supervisor.apply()
    storage = [program for program in listed if program.name in STORAGE]
    for program in storage:
        supervisor.ensure(program.name)
    readiness.wait(storage, settings, supervisor, SECONDS_TO_START, progress.show)


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `save`, `restore FOLDER` (a backup, or a folder of which the newest is taken),
    `check` likewise.
    """
    parser = argparse.ArgumentParser(prog="python -m stack.backups", description="Backups.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("save", help="write a backup")
    for name in ("restore", "check"):
        command = commands.add_parser(name)
        command.add_argument("folder", nargs="?", help="a backup; empty: the newest")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        if options.command == "restore":
            configuration.write_env()
        settings = configuration.stack_settings()
        if options.command == "save":
            path = save(settings)
        else:
            path = backup.newest(Path(options.folder or settings.backup_folder()).absolute())
            if options.command == "check":
                backup.check(path, settings)
            else:
                restore(path, settings, Progress(), is_forced=bool(os.environ.get("READMIT_FORCE")))
    except (BackupFailed, RebuildUnderWay, RestoreUnderWay, readiness.NotReady) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.command}: {path}")
    if options.command == "restore":
        print(
            "Start the stack: make up. The databases from before are kept as ..._replaced;"
            " `.venv/bin/python -m readmit.ops.backup forget` drops them."
        )
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
