"""Install what the tests need beyond Python packages: a browser, nginx, PgBouncer, Prometheus and
what belongs to it.

`make test` calls it first. On Debian, root installs the missing programs with apt. It also raises
the limit of open files.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from readmit import open_files
from stack.machine import find_program

# Debian packages, each with the programs of which one must be on the PATH.
NEEDED = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "nginx": ("nginx",),
    "pgbouncer": ("pgbouncer",),
    "prometheus": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
    "prometheus-node-exporter": ("prometheus-node-exporter", "node_exporter"),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
}
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
SECONDS = 900


class ToolsMissing(Exception):
    """Programs are missing and cannot be installed; the message says how to install them."""


def missing() -> list[str]:
    """Return the packages without a program on the PATH; CHROMIUM may be the path of a browser."""
    has_browser = Path(os.environ.get("CHROMIUM", "/nowhere")).is_file()
    packages = []
    for package, programs in NEEDED.items():
        if package == "chromium" and has_browser:
            continue
        if not any(map(find_program, programs)):
            packages.append(package)
    return packages


def ensure() -> list[str]:
    """Install the missing packages and return their names.

    Raises:
        ToolsMissing: they cannot be installed.
    """
    packages = missing()
    if not packages:
        return []
    names = ", ".join(packages)
    hint = f"the tests need {names}: as root, apt-get install {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolsMissing(hint)
    print(f"installing {names} for the tests", flush=True)
    _apt(hint, "update")
    _apt(hint, "install", "--no-install-recommends", *packages)
    still_missing = ", ".join(missing())
    if still_missing:
        raise ToolsMissing(f"{still_missing} is not on the PATH after the installation; {hint}")
    return packages


def _apt(hint: str, *words: str) -> None:
    try:
        process = subprocess.run(
            [*APT, *words],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolsMissing(f"apt-get {words[0]} did not end in {SECONDS} s; {hint}") from error
    if process.returncode != 0:
        output = process.stderr or process.stdout
        last_line = output.rstrip().rpartition("\n")[2] or "failed without a message"
        raise ToolsMissing(f"apt-get {words[0]}: {last_line}; {hint}")


def main() -> int:
    """Command line of the first step of `make test`."""
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
