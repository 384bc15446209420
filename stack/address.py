"""`python -m stack.address pushgateway`: print the address of one component of the stack."""

import sys

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from stack import programs
from stack.configuration import stack_settings


@explained
def main() -> int:
    """Print the address of a component, or an empty line when this machine does not run it."""
    [name] = sys.argv[1:]
    address = ""
    for program in programs.all_programs(stack_settings()):
        if program.name == name:
            address = program.address
    print(address)
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
