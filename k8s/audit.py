"""Known weaknesses of what the lock installs: `python -m k8s.audit` (pip-audit, run by uvx, never installed here).

Ends with 0 when every package was checked and none is weak, 1 when some are, 3 when it could not be checked: a registry
that knows no weaknesses, or no network, says nothing about the packages, and must not look like a pass.
"""

import json
import subprocess
import sys
from typing import Any

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
CLEAN, WEAK, UNKNOWN = 0, 1, 3
SECONDS = 600


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print for a report of pip-audit."""
    packages = report["dependencies"]
    weak = [_weakness(package, each) for package in packages for each in package.get("vulns", [])]
    unchecked = [str(package["skip_reason"]) for package in packages if "skip_reason" in package]
    if weak:
        return WEAK, weak
    if unchecked or not packages:
        return UNKNOWN, [
            f"not checked: {len(unchecked)} of {len(packages)} packages: {(unchecked or ['none given'])[0]}"
        ]
    return CLEAN, [f"{len(packages)} packages, none with a known weakness"]


def _weakness(package: dict[str, Any], found: dict[str, Any]) -> str:
    fixed = ", ".join(found["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {found['id']}, mended by {fixed}"


def audit() -> tuple[int, list[str]]:
    """Run pip-audit over the lock; same answer as `verdict`."""
    try:
        done = subprocess.run(
            [*COMMAND, "--requirement", str(ROOT / "requirements.lock")],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return verdict(json.loads(done.stdout))
    except FileNotFoundError:
        return UNKNOWN, ["not checked: uvx is not installed (it comes with uv)"]
    except subprocess.TimeoutExpired:
        return UNKNOWN, [f"not checked: no answer within {SECONDS} s"]
    except json.JSONDecodeError:
        return UNKNOWN, [
            "not checked: " + (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        ]


def main() -> int:
    """Command line."""
    code, lines = audit()
    print("\n".join(lines), file=sys.stdout if code == CLEAN else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
