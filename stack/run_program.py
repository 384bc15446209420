"""`python -m stack.run_program NAME`: become one program of the stack, with its environment.

The supervisor runs this instead of the program itself. So its configuration has no secrets, and the
processes that a killed predecessor left behind are ended first.
"""

import os
import sys

from readmit import open_files
from readmit.settings import ROOT
from stack import processes, sessions
from stack.configuration import stack_settings
from stack.programs import HOME_MARK, PROGRAM_MARK, all_programs, server, shared_environment


def main() -> None:
    """Replace this process by the program that the command line names."""
    os.umask(0o077)
    name = sys.argv[1]
    settings = stack_settings()
    programs = {program.name: program for program in all_programs(settings)}
    program = programs[name]
    marks = {HOME_MARK: str(settings.readmit_home), PROGRAM_MARK: name}
    sessions.end(settings.readmit_home, name)
    if name == "postgres":
        server(settings).clear_stale_pid()
    open_files.raise_limit()
    processes.die_with_parent()
    sessions.record(settings.readmit_home, name)
    environment = {**os.environ, **shared_environment(settings), **program.environment, **marks}
    os.chdir(ROOT)
    os.execve(processes.executable(program.command[0]), program.command, environment)  # noqa: S606


if __name__ == "__main__":
    main()
