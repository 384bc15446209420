"""`make down`: stop everything, and leave no process behind."""

import sys

from readmit.command import explained
from readmit.settings import StackSettings
from stack import sessions
from stack.configuration import stack_settings
from stack.programs import store
from stack.supervisor import Supervisor


def stop(settings: StackSettings) -> None:
    """Stop every program and the supervisor, and remove what they leave in /tmp."""
    Supervisor(settings).stop()
    store(settings).tidy()


@explained
def main() -> int:
    """Command line of `make down`."""
    settings = stack_settings()
    stop(settings)
    remaining = [process.pid for process in sessions.processes_of(settings.readmit_home)]
    print(f"still there: processes {remaining}" if remaining else "everything is stopped")
    return 1 if remaining else 0


if __name__ == "__main__":
    sys.exit(main())
