"""`make down`: stop every process of the stack."""

import sys

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import StackSettings
from stack import sessions
from stack.configuration import stack_settings
from stack.programs import notebook_mark, store
from stack.supervisor import Supervisor


def stop(settings: StackSettings) -> None:
    """Stop every program and the supervisor, and remove what they leave in /tmp.

    The next `make up` starts no JupyterLab: `make notebook` does.
    """
    Supervisor(settings).stop()
    notebook_mark(settings).unlink(missing_ok=True)
    store(settings).flush()
    store(settings).tidy()


@explained
def main() -> int:
    """Command line of `make down`."""
    settings = stack_settings()
    stop(settings)
    remaining = [process.pid for process in sessions.processes_of(settings.readmit_home)]
    if remaining:
        print(f"processes that still run: {remaining}")
        return 1
    print("everything is stopped")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
