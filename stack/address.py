"""`python -m stack.address pushgateway`: where a component of the one-machine stack is; empty when there is none."""

import sys

from readmit.command import explained
from stack import programs
from stack.configuration import stack_settings


@explained
def main() -> int:
    """Print the address."""
    [name] = sys.argv[1:]
    print(
        next(
            (each.address for each in programs.all_programs(stack_settings()) if each.name == name),
            "",
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
