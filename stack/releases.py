"""Releases of programs that a machine may lack: downloaded, verified, unpacked, tried.

A release appears below READMIT_HOME in one step, when it is complete: it is unpacked beside its
place and renamed. What a killed run left behind is deleted by the next one. Of two runs at once the
second waits for the first.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath

from stack.state_folder import delete

LIST = Path(__file__).with_name("monitoring_releases.toml")
PART = ".part-"
LARGEST_ARCHIVE = 1_000_000_000  # bytes; Grafana's has about 250 million
LARGEST_RELEASE = 3_000_000_000
TRIAL_SECONDS = 30
PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}


def folder_of_releases(home: Path) -> Path:
    """Return the folder of the unpacked releases."""
    return home / "programs"


class NotFetched(Exception):
    """A release could not be had: no network, no such file, too slow, or it does not run here."""


class Rejected(Exception):
    """What was downloaded is not the release: its digest or its content is wrong."""


@dataclass(frozen=True)
class Limits:
    """How many seconds a download may take."""

    connect: float = 10
    silence: float = 30  # without a byte
    all: float = 900


@dataclass(frozen=True)
class Release:
    """A pinned release; `sha256` has the digest of the archive by platform."""

    name: str
    title: str
    version: str
    program: str
    url: str
    sha256: Mapping[str, str]
    sources: tuple[str, ...] = ()
    only_one_source: tuple[str, ...] = field(default=())

    def address(self, mirror: str | None = None) -> str:
        """Return the address of this machine's archive: the project's, or that of a mirror."""
        url = self.url.format(version=self.version, platform=this_platform())
        if mirror:
            return f"{mirror.rstrip('/')}/{url.rpartition('/')[2]}"
        return url

    def folder(self, home: Path) -> Path:
        """Return the folder of the unpacked release."""
        return folder_of_releases(home) / f"{self.name}-{self.version}"

    def path(self, home: Path) -> Path:
        """Return the path of the program."""
        return self.folder(home) / self.program

    def is_fetched(self, home: Path) -> bool:
        """Return whether the release is there."""
        return os.access(self.path(home), os.X_OK)


def read(path: Path = LIST) -> dict[str, Release]:
    """Return the releases for this machine's platform, by name."""
    releases = {}
    for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if this_platform() in entry["sha256"]:
            releases[name] = Release(name, **entry)
    return releases


def this_platform() -> str:
    """Return the platform as the projects name it, such as `linux-amd64`."""
    processor = platform.machine()
    return f"{platform.system().lower()}-{PROCESSORS.get(processor, processor)}"


def fetch(
    release: Release, home: Path, mirror: str | None = None, limits: Limits | None = None
) -> Path:
    """Download, verify and unpack a release, unless it is there; return the program's path.

    Args:
        release: what is fetched.
        home: the state folder.
        mirror: the address of a folder that has the archive; without it the project's own.
        limits: how many seconds it may take.

    Raises:
        NotFetched: it could not be downloaded, or does not run on this machine.
        Rejected: the archive is another than the pinned one, or would write outside its folder.
    """
    limits = limits or Limits()
    deadline = time.monotonic() + limits.all
    programs = folder_of_releases(home)
    try:
        programs.mkdir(mode=0o700, exist_ok=True)
        with _lock(programs, deadline):
            if not release.is_fetched(home):
                _fetch(release, home, release.address(mirror), limits, deadline)
    except OSError as error:
        raise NotFetched(f"{error.filename or programs}: {error.strerror or error}") from error
    return release.path(home)


@contextmanager
def _lock(programs: Path, deadline: float) -> Iterator[None]:
    """Keep other runs out; the kernel ends the lock of a process that was killed."""
    descriptor = os.open(programs / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotFetched("another `make up` has been downloading for long") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def _fetch(release: Release, home: Path, url: str, limits: Limits, deadline: float) -> None:
    programs = folder_of_releases(home)
    for leftover in programs.glob(f"{PART}*"):
        delete(leftover)
    part = Path(tempfile.mkdtemp(prefix=PART, dir=programs))
    try:
        archive = part / "archive.tar.gz"
        digest = download(url, archive, limits, deadline)
        expected = release.sha256[this_platform()]
        if digest != expected:
            raise Rejected(f"{url} has the sha256 {digest}, the release has {expected}")
        unpack(archive, part / "release")
        archive.unlink()
        _try_out(part / "release" / release.program, url)
        for earlier in programs.glob(f"{release.name}-*"):
            delete(earlier)
        (part / "release").rename(release.folder(home))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def download(url: str, path: Path, limits: Limits, deadline: float) -> str:
    """Download a file by the proxy of the environment, if any, and return its sha256.

    Raises:
        NotFetched: the server does not send the whole file in time.
    """
    # Imported for a download only: each start of a program reads this module, and httpx with its
    # command line takes a third of a second.
    import httpx

    from readmit.intake.public_transport import proxy_for

    digest = sha256()
    n_bytes = 0
    timeout = httpx.Timeout(limits.silence, connect=limits.connect)
    headers = {"Accept-Encoding": "identity"}
    host = httpx.URL(url).host
    proxy = proxy_for(httpx.URL(url)) or None
    try:
        with (
            httpx.Client(
                timeout=timeout, follow_redirects=True, headers=headers, proxy=proxy
            ) as client,
            client.stream("GET", url) as response,
            path.open("wb") as file,
        ):
            if not response.is_success:
                raise NotFetched(f"{host} answers {response.status_code} to {url}")
            for chunk in response.iter_raw():
                digest.update(chunk)
                file.write(chunk)
                n_bytes += len(chunk)
                if n_bytes > LARGEST_ARCHIVE:
                    raise NotFetched(f"{url} has more than {LARGEST_ARCHIVE:,} bytes")
                if time.monotonic() > deadline:
                    raise NotFetched(f"{host} is too slow: {n_bytes:,} bytes in time")
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        # ImportError: a SOCKS proxy is set. ValueError: a proxy's address that is none.
        message = " ".join(str(error).split()) or type(error).__name__
        raise NotFetched(f"{host}: {message}") from error
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of an archive's one folder. Links are left out.

    Raises:
        Rejected: it is no archive, or an entry would lie outside the folder.
    """
    n_bytes = 0
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(archive, "r:gz") as entries:
            for entry in entries:
                _check_inside(entry)
                n_bytes += entry.size
                if n_bytes > LARGEST_RELEASE:
                    raise Rejected(f"the archive has more than {LARGEST_RELEASE:,} bytes")
                content = entries.extractfile(entry) if entry.isfile() else None
                parts = PurePosixPath(entry.name).parts[1:]
                if content is None or not parts:
                    continue
                path = folder.joinpath(*parts)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
                path.chmod(0o700 if entry.mode & 0o100 else 0o600)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Rejected(f"the archive cannot be read: {error}") from error


def _check_inside(entry: tarfile.TarInfo) -> None:
    """Raise when an entry, or what it links to, would lie outside the archive's folder."""
    path = PurePosixPath(entry.name)
    if entry.islnk():
        path = PurePosixPath(entry.linkname)
    elif entry.issym():
        path = PurePosixPath(os.path.normpath(path.parent / entry.linkname))
        if PurePosixPath(entry.linkname).is_absolute():
            raise Rejected(f"the archive links {entry.name!r} to {entry.linkname!r}")
    if path.is_absolute() or ".." in path.parts or ".." in PurePosixPath(entry.name).parts:
        raise Rejected(f"the archive has an entry outside its folder: {entry.name!r}")


def _try_out(program: Path, url: str) -> None:
    """Raise when a program does not tell its version: it is for another kind of machine."""
    if not program.is_file():
        raise Rejected(f"{url} does not contain {program.name}")
    try:
        process = subprocess.run(
            [program, "--version"],
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(program.parent)},
            cwd=program.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TRIAL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or error
        raise NotFetched(f"{program.name} does not run on this machine: {reason}") from error
    if process.returncode != 0:
        text = (process.stderr or process.stdout).decode(errors="replace").strip()
        last_line = text.rpartition("\n")[2] or f"exit code {process.returncode}"
        raise NotFetched(f"{program.name} does not run on this machine: {last_line}")
