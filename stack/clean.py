"""`make clean`: stop everything and remove the state. `.env` stays: it may hold settings of your own."""

import shutil

from stack.configuration import stack_settings
from stack.postgres import reachable
from stack.supervisor import Supervisor


def main() -> None:
    """Command line of `make clean`."""
    settings = stack_settings()
    Supervisor(settings).stop()
    for folder in {settings.readmit_home, reachable(settings.readmit_home)}:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
