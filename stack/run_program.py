"""Start one program of the stack: `python -m stack.run_program NAME` becomes that program, with its environment.

The supervisor runs this instead of the program itself, so that its configuration holds no secret, and so that what a
killed predecessor left behind is cleared away first.
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
    name = sys.argv[1]
    settings = stack_settings()
    program = next(program for program in all_programs(settings) if program.name == name)
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
