"""`make clean`: stop everything and remove the state.

`.env` stays, because it may hold settings of your own.
"""

import shutil
import sys

from readmit.command import explained
from stack.configuration import stack_settings
from stack.down import stop
from stack.postgres import reachable


@explained
def main() -> int:
    """Command line of `make clean`."""
    settings = stack_settings()
    stop(settings)
    for folder in {settings.readmit_home, reachable(settings.readmit_home)}:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
