"""`make logs NAME=api`: follow the log of one component, or of all."""

import os
import sys

from stack.configuration import stack_settings


def main() -> None:
    """Become `tail -F` on the logs."""
    folder = stack_settings().readmit_home / "log"
    wanted = [folder / f"{name}.log" for name in sys.argv[1:]] or sorted(folder.glob("*.log"))
    missing = [path.stem for path in wanted if not path.exists()]
    if missing or not wanted:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet: make up"
        sys.exit(f"no log of {', '.join(missing) or 'anything'}; there are: {known}")
    os.execvp("tail", ["tail", "-n", "50", "-F", *map(str, wanted)])  # noqa: S606


if __name__ == "__main__":
    main()
