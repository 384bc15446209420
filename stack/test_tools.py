"""What the tests need beyond Python packages: a browser, Prometheus, and room for open files.

Called by `make test`. What is there already is not looked up anywhere; root on a Debian gets the rest from apt.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from readmit import open_files

# Programs of which one must be on the PATH, by the Debian package that brings them.
NEEDED = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "prometheus": ("prometheus",),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
}
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
SECONDS = 900


class ToolsMissing(Exception):
    """Programs are missing and cannot be installed here; the message says how to get them."""


def missing() -> list[str]:
    """Return the packages of which no program is on the PATH; CHROMIUM may name a browser anywhere."""
    found = {
        name
        for name, programs in NEEDED.items()
        if any(shutil.which(program) for program in programs)
    }
    if Path(os.environ.get("CHROMIUM", "/nowhere")).is_file():
        found.add("chromium")
    return [name for name in NEEDED if name not in found]


def ensure() -> list[str]:
    """Install what is missing; returns the packages that were installed.

    Raises:
        ToolsMissing: it cannot be done here.
    """
    wanted = missing()
    if not wanted:
        return []
    hint = f"the tests need {', '.join(wanted)}: as root, apt-get install {' '.join(wanted)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolsMissing(hint)
    print(f"installing {', '.join(wanted)} for the tests", flush=True)
    _apt(hint, "update")
    _apt(hint, "install", "--no-install-recommends", *wanted)
    if still := missing():
        raise ToolsMissing(f"{', '.join(still)} is not on the PATH after the installation; {hint}")
    return wanted


def _apt(hint: str, *words: str) -> None:
    told = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            [*APT, *words], env=told, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ToolsMissing(f"apt-get {words[0]} did not end in {SECONDS} s; {hint}") from error
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ToolsMissing(
            f"apt-get {words[0]}: {said[-1] if said else 'failed without a word'}; {hint}"
        )


def main() -> int:
    """Command line of `make test`'s first step."""
    try:
        if too_low := open_files.raise_limit():
            raise ToolsMissing(too_low)
        ensure()
    except ToolsMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
