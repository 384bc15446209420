"""supervisord with two changes: it adopts orphans, and each program leads its own session."""

import os
import sys

from supervisor import supervisord
from supervisor.options import ServerOptions

from stack import processes


class Options(ServerOptions):  # type: ignore[misc] # supervisor has no types
    """supervisord's options; its calls to the kernel are methods of this class."""

    def daemonize(self) -> None:
        """Leave the terminal, then adopt orphans: a fork does not inherit that setting."""
        super().daemonize()
        processes.adopt_orphans()

    def setpgrp(self) -> None:
        """Start a session, which is a process group too, for a program."""
        os.setsid()


def main() -> None:
    """Command line: supervisord's own."""
    options = Options()
    options.realize(sys.argv[1:], doc=__doc__)
    options.first = True
    options.test = False
    supervisord.go(options)


if __name__ == "__main__":
    main()
