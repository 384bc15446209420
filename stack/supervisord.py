"""supervisord, as the stack runs it: it adopts orphans, and each program leads a session of its own."""

import os
import sys

from supervisor import supervisord
from supervisor.options import ServerOptions

from stack import processes


class Options(ServerOptions):  # type: ignore[misc] # supervisor has no types
    """supervisord's options, which also hold what it asks of the kernel."""

    def daemonize(self) -> None:
        """Leave the terminal; then, since a fork does not inherit it, adopt orphans."""
        super().daemonize()
        processes.adopt_orphans()

    def setpgrp(self) -> None:
        """Give a program a session where supervisord gives it a process group: it is both."""
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
