"""What our images are made of: `python -m k8s.image_bills FOLDER` writes a bill for each.

It is read from the Dockerfiles, so no engine is needed: the packages of the lock that an image
installs, and the packages of Debian that apt would install today, with all that those need. Only
the images' release of Debian knows these; on others they are left out. The packages of the base
image are its own affair: of a built image, `make audit` asks the image itself.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from readmit.settings import ROOT

SCRIPT = ROOT / "k8s" / "build-images.sh"
ENGINES = ("docker", "podman")
STAGE = re.compile(r"^FROM (?P<base>\S+)(?: AS (?P<name>\S+))?$", re.MULTILINE)
INSTALLED = re.compile(r"^Inst (?P<name>\S+) \((?P<version>\S+) ", re.MULTILINE)
CANDIDATE = re.compile(
    r"^(?P<name>[\w.+-]+):\n  Installed: .*\n  Candidate: (?P<version>\S+)", re.MULTILINE
)
RELEASE = "bookworm"  # of Debian, as in the base of the images
BASE = {"name": "base image"}


@dataclass(frozen=True)
class Image:
    """An image of ours, as its Dockerfile describes it.

    Attributes:
        name: as in `k8s/build-images.sh`.
        base: the image that it is built from.
        extras: of `pyproject.toml`, whose packages it has.
        debian: the packages that it asks apt for.
    """

    name: str
    base: str
    extras: tuple[str, ...]
    debian: tuple[str, ...]


def images() -> list[Image]:
    """Return the images that `k8s/build-images.sh` builds."""
    script = SCRIPT.read_text(encoding="utf-8")
    parsed = []
    for name, path in re.findall(r"\[([\w-]+)\]=(\S+Dockerfile)", script):
        parsed.append(parse(name, (ROOT / path).read_text(encoding="utf-8")))
    return parsed


def parse(name: str, dockerfile: str) -> Image:
    """Return what the last stage of a Dockerfile has, with the packages that it copies."""
    text = dockerfile.replace("\\\n", " ")
    [base] = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    marks = [*STAGE.finditer(text)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    stages = {}
    for mark, end in zip(marks, ends, strict=True):
        stages[mark["name"]] = text[mark.end() : end]
    final = stages[None]
    extras: list[str] = []
    for source in re.findall(r"COPY --from=(\S+) /opt/venv", final):
        for command in re.findall(r"RUN sh install\.sh (.*)", stages[source]):
            extras += command.split()
    debian: list[str] = []
    for command in re.findall(r"apt-get install ([^&]*)", final):
        debian += [word for word in command.split() if not word.startswith("-")]
    return Image(name, base, tuple(extras), tuple(debian))


def has_index() -> bool:
    """Return whether apt of this machine knows the packages of the images' release."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # no Linux
        return False
    return release.get("VERSION_CODENAME") == RELEASE and shutil.which("apt-get") is not None


def debian_packages(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each package that apt installs for some, on a system without any.

    apt's index on this machine decides, so it is that of today after `apt-get update`.
    """
    if not names or not has_index():
        return {}
    nothing_installed = ["-o", "Dir::State::status=/dev/null"]
    process = subprocess.run(
        ["apt-get", "--simulate", *nothing_installed, "install", "--no-install-recommends", *names],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(INSTALLED.findall(process.stdout))


def bill(image: Image, project: Path) -> dict[str, object]:
    """Return the bill of materials of an image (CycloneDX 1.5).

    Args:
        image: the image.
        project: a folder for the lock of uv, which all images share.

    Raises:
        CalledProcessError: uv does not reach the registry, or apt has no such package.
    """
    document: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}
    components: list[object] = []
    if image.extras:
        exported = subprocess.run(
            ["bash", str(ROOT / "k8s" / "sbom.sh"), "--project", str(project), *image.extras],
            capture_output=True,
            text=True,
            check=True,
        )
        document = json.loads(exported.stdout)
        components += document["components"]
    for name, version in debian_packages(image.debian).items():
        purl = f"pkg:deb/debian/{name}@{quote(version)}?distro={RELEASE}"
        components.append({"type": "library", "name": name, "version": version, "purl": purl})
    subject = {
        "type": "container",
        "name": image.name,
        "properties": [BASE | {"value": image.base}],
    }
    return document | {"metadata": {"component": subject}, "components": components}


def engine() -> str | None:
    """Return the program that has images on this machine, or None."""
    for candidate in ENGINES:
        path = shutil.which(candidate)
        if (
            path
            and subprocess.run([path, "info"], capture_output=True, check=False).returncode == 0
        ):
            return path
    return None


def installed_in(tag: str, program: str) -> dict[str, str] | None:
    """Return the packages of Debian in a built image, its base's too; None when it is not built."""
    process = subprocess.run(
        [
            *(program, "run", "--rm", "--network=none", "--entrypoint=dpkg-query", "--pull=never"),
            *(tag, "--show", "--showformat=${Package} ${Version}\\n"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        return None
    return dict(line.split(" ", 1) for line in process.stdout.splitlines())


def updates(installed: Mapping[str, str], tag: str) -> list[str]:
    """Return one line per package of an image for which apt's index has another version."""
    policy = subprocess.run(
        ["apt-cache", "policy", *installed], capture_output=True, text=True, check=True
    )
    lines = []
    for name, candidate in CANDIDATE.findall(policy.stdout):
        if candidate not in ("(none)", installed[name]):
            lines.append(f"{tag}: {name} {installed[name]}: Debian has {candidate}")
    return lines


def check_built() -> tuple[list[str], list[str]]:
    """Return the updates that wait in built images, and a note for each image not looked at."""
    program = engine()
    if program is None or not has_index():
        return [], [
            f"note: no engine with images, or no apt of Debian {RELEASE}:"
            " packages of Debian in images not checked"
        ]
    weak: list[str] = []
    notes: list[str] = []
    version = version_of_images()
    for image in images():
        tag = f"{os.environ.get('REGISTRY', 'localhost/readmit')}/{image.name}:{version}"
        installed = installed_in(tag, program)
        if installed is None:
            notes.append(f"note: {tag} is not built here: its packages of Debian were not checked")
        else:
            weak += updates(installed, tag)
    return weak, notes


def version_of_images() -> str:
    """Return the version that `k8s/build-images.sh` gives to images."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def main() -> int:
    """Command line: write the bill of each image into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if not has_index():
        note = f"note: no apt of Debian {RELEASE}: the bills of images have no packages of Debian"
        print(note, file=sys.stderr)
    with tempfile.TemporaryDirectory() as project:
        for image in images():
            try:
                document = json.dumps(bill(image, Path(project)), indent=1)
            except subprocess.CalledProcessError as error:
                print(f"error: no bill of {image.name}: {error.stderr.strip()}", file=sys.stderr)
                return 1
            (folder / f"sbom-{image.name}.json").write_text(document, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
