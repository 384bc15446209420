"""`python -m stack.run_program NAME`: become one program of the stack, with its environment.

The supervisor runs this instead of the program itself. So its configuration has no secrets, and the
processes that a killed predecessor left behind are ended first.
"""

import os
import sys
from pathlib import Path

from readmit import open_files
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT
from stack import api_socket, processes, sessions
from stack.configuration import stack_settings
from stack.postgres import give_to_ordinary_user
from stack.programs import PROGRAM_MARK, environment_of, find, server


def main() -> None:
    """Replace this process by the program that the command line names."""
    os.umask(0o077)
    name = sys.argv[1]
    settings = stack_settings()
    program = find(name, settings)
    sessions.end(settings.readmit_home, name)
    if name == "postgres":
        server(settings).clear_stale_pid()
    if name == "login-proxy" and os.geteuid() == 0:
        # nginx opens /dev/stdout for its access log, as the ordinary user.
        give_to_ordinary_user(Path("/dev/stdout"))
    if name == "api":
        api_socket.receive(settings.readmit_home)
    open_files.raise_limit()
    processes.die_with_parent()
    sessions.record(settings.readmit_home, name)
    environment = environment_of(program, settings) | {PROGRAM_MARK: name}
    os.chdir(ROOT)
    os.execve(processes.executable(program.command[0]), program.command, environment)  # noqa: S606


if __name__ == "__main__":
    forget_the_shell()
    main()
