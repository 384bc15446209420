"""Known weaknesses of what we run: `python -m k8s.audit`.

uvx runs pip-audit over the locked packages; it is not installed here. Programs that are no Python
packages are looked up in a list of our own (`k8s.advisories`).

Exit codes: 0 everything was checked and nothing is weak, 1 some is weak, 3 not checked. A registry
that knows no weaknesses, or a missing network, proves nothing about the packages and must not look
like a pass.
"""

import json
import subprocess
import sys
from typing import NotRequired, TypedDict

from k8s import advisories, image_bills
from readmit.settings import ROOT

AUDITOR = "pip-audit==2.10.1"
COMMAND = (
    "uvx",
    AUDITOR,
    "--require-hashes",
    "--disable-pip",
    "--format=json",
    "--progress-spinner=off",
)
CLEAN = 0
WEAK = 1
UNKNOWN = 3
SECONDS = 600


class Weakness(TypedDict):
    """A known weakness in pip-audit's report."""

    id: str
    fix_versions: list[str]


class Package(TypedDict):
    """A package in pip-audit's report; one that was not checked has a `skip_reason` only."""

    name: str
    version: NotRequired[str]
    vulns: NotRequired[list[Weakness]]
    skip_reason: NotRequired[str]


class Report(TypedDict):
    """What pip-audit prints as JSON."""

    dependencies: list[Package]


def verdict(report: Report) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for a report of pip-audit."""
    packages = report["dependencies"]
    if not packages:
        return UNKNOWN, ["not checked: the report has no package"]
    weaknesses = []
    skip_reasons = []
    for package in packages:
        if "skip_reason" in package:
            skip_reasons.append(package["skip_reason"])
        for weakness in package.get("vulns", []):
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            name = f"{package['name']} {package['version']}"
            weaknesses.append(f"{name}: {weakness['id']}, fixed in {fixed}")
    if weaknesses:
        return WEAK, weaknesses
    if skip_reasons:
        count = f"{len(skip_reasons)} of {len(packages)} packages"
        return UNKNOWN, [f"not checked: {count}: {skip_reasons[0]}"]
    return CLEAN, [f"{len(packages)} packages, none with a known weakness"]


def audit() -> tuple[int, list[str]]:
    """Run pip-audit over the lock; returns an exit code and lines, as `verdict` does."""
    command = [*COMMAND, "--requirement", str(ROOT / "requirements.lock")]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        return verdict(json.loads(process.stdout))
    except FileNotFoundError:
        return UNKNOWN, ["not checked: uvx is not installed (it comes with uv)"]
    except subprocess.TimeoutExpired:
        return UNKNOWN, [f"not checked: no answer within {SECONDS} s"]
    except json.JSONDecodeError:
        error_lines = process.stderr.strip().splitlines() or ["pip-audit printed nothing"]
        return UNKNOWN, [f"not checked: {error_lines[-1]}"]


def main() -> int:
    """Command line."""
    code, lines = audit()
    waiting_in_images, notes = image_bills.check_built()
    weak_programs = [
        *advisories.weaknesses(),
        *advisories.waiting_updates(),
        *waiting_in_images,
    ]
    if weak_programs:
        code = WEAK
        lines += weak_programs
    else:
        lines.append("programs in wheels and images: none in the list of advisories")
    lines += notes
    for image in advisories.loose_images():
        lines.append(f"note: {image} is named by tag, not by digest")
    print("\n".join(lines), file=sys.stdout if code == CLEAN else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
