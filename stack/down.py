"""`make down`: stop everything, and leave no process behind."""

import sys

from readmit.command import explained
from readmit.settings import StackSettings
from stack import processes
from stack.configuration import stack_settings
from stack.programs import HOME_MARK, store
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
    left = processes.marked({HOME_MARK: str(settings.readmit_home)})
    print("everything is stopped" if not left else f"still there: processes {left}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
