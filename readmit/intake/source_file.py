"""Get the source file: `DATASET` (path or URL), else UCI's archive, else the embedded sample."""

import hashlib
import logging
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from readmit.errors import SourceRefused, SourceUnreachable, printable
from readmit.intake.csv_file import dialect_of
from readmit.intake.download import NO_VERSION, FileVersion, download, printable_address
from readmit.intake.share_links import file_address
from readmit.intake.zip_archive import (
    CSV_NAME,
    csv_member,
    extract_csv,
    opened_zip,
    packing_of,
)

log = logging.getLogger(__name__)

DataSource = Literal["uci", "file", "url", "sample"]

LARGE_BYTES = 200 << 20  # ten times the real file
UCI_NAME = "diabetes+130-us+hospitals+for+years+1999-2008.zip"
UCI_URL = f"https://archive.ics.uci.edu/static/public/296/{UCI_NAME}"
UCI_ARCHIVE_SHA256 = "f82ac129da2ddd2299391ff6fbae3a6a58b3edcf59ac9d7bd480c00fe453112a"
UCI_CSV_SHA256 = "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97"


@dataclass(frozen=True)
class Fetched:
    """A file as it was given or downloaded: a CSV, a zip or a gzip, not unpacked yet."""

    path: Path
    name: str
    data_source: DataSource
    sha256: str
    version: FileVersion = NO_VERSION


@dataclass(frozen=True)
class LocalSource:
    """A CSV on this machine; `sha256` is over its bytes, whatever it was packed in.

    `packing` names what it was packed in ("zip", "gzip"), outermost first.
    """

    path: Path
    name: str
    data_source: DataSource
    sha256: str
    packing: tuple[str, ...] = ()


def fetch(
    dataset: str | None,
    cache: Path,
    last_version: FileVersion = NO_VERSION,
) -> Fetched:
    """Return the file of a path or an address; an address is downloaded.

    Args:
        dataset: path or URL (a share link of Google Drive, Dropbox or GitHub is one too);
            None means UCI's archive, or the sample when UCI does not answer.
        cache: folder for downloads; it is created.
        last_version: of an address, what was fetched from it before.

    Raises:
        NotChanged: the address has no other version than `last_version`.
        SourceRefused: there is no such file; the message says what to do.
        SourceUnreachable: the address does not answer.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if not dataset:
        return fetch_default(cache)
    if not is_address(dataset):
        return fetch_file(Path(os.path.expanduser(dataset)))
    check(dataset)
    target = cache / f"{hashlib.sha256(os.fsencode(dataset)).hexdigest()[:16]}.download"
    version = download(file_address(dataset), target, last_version=last_version)
    return Fetched(target, printable_address(dataset), "url", sha256_of(target), version)


def fetch_file(path: Path) -> Fetched:
    """Return a file of this machine.

    Its hash takes seconds per gigabyte, so the header of a large CSV is looked at before.

    Raises:
        SourceRefused: there is no such file, or it cannot be opened, or is large and no CSV of
            encounters.
    """
    _check_file(path)
    name = printable(path.name)
    if path.stat().st_size > LARGE_BYTES and not packing_of(path):
        dialect_of(path, name)
    return Fetched(path, name, "file", sha256_of(path))


def fetch_default(cache: Path) -> Fetched:
    """Return UCI's archive from the cache or the network, else the sample, with a loud warning."""
    archive = cache / "uci.zip"
    try:
        if not archive.is_file() or not _is_uci(archive):
            download(UCI_URL, archive)
        if _is_uci(archive):
            return Fetched(archive, UCI_NAME, "uci", sha256_of(archive))
        reason = "UCI's archive has another sha256 than expected"
    except (SourceUnreachable, SourceRefused) as error:
        reason = str(error)
    log.warning("!" * 100)
    log.warning("NOT THE REAL DATA: the embedded SAMPLE is used, because: %s", reason)
    log.warning("Set DATASET to the CSV or the zip of UCI dataset 296 to use the real data.")
    log.warning("!" * 100)
    from readmit.intake import sample  # numpy takes a while to import

    target = cache / "sample.csv"
    if not target.is_file():
        sample.write_csv(target)
    return Fetched(target, "embedded sample", "sample", sha256_of(target))


def unchanged_mark(dataset: str | None, expected_sha256: str | None, cache: Path) -> Path | None:
    """Return the path of a small file that says which source was registered from `dataset`.

    The path changes with the file (its inode, size and times), so a file that has not changed
    needs no second reading. None for addresses and for files that do not exist.
    """
    path = Path(os.path.expanduser(dataset or ""))
    # Unlike Path.is_file, this is False also where this user may not look.
    if not dataset or not os.path.isfile(path):
        return None
    status = path.stat()
    identity = (
        path.resolve(),
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        expected_sha256,
    )
    return cache / f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.known"


def is_address(dataset: str) -> bool:
    """Tell whether `DATASET` is an address, not a path."""
    return "://" in dataset


def check(dataset: str) -> None:
    """Refuse a path or an address that cannot be a source file, without reading it.

    Raises:
        SourceRefused: the address is not http(s), or the path has no file that can be read.
    """
    if not is_address(dataset):
        _check_file(Path(os.path.expanduser(dataset)))
    elif not dataset.lower().startswith(("http://", "https://")):
        raise SourceRefused(
            f"{printable_address(dataset)}: addresses begin with http:// or https://; "
            "of a file on this machine give the path"
        )


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
    except (FileNotFoundError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise _no_file(path, "does not exist") from error
    except OSError as error:
        raise _no_file(path, f"cannot be read by this user ({error.strerror})") from error
    if stat.S_ISDIR(mode):
        raise _no_file(path, "is a folder, not a file")
    raise _no_file(path, "is a pipe or a device, not a file")


def _no_file(path: Path, problem: str) -> SourceRefused:
    return SourceRefused(
        f"{printable(str(path))} {problem}; "
        "set DATASET to the CSV or the zip (absolute, or from the repository)"
    )


def unpack(fetched: Fetched, cache: Path, expected_sha256: str | None) -> LocalSource:
    """Return the CSV of a fetched file; a zip or gzip is unpacked below `cache`.

    Args:
        fetched: a CSV, a zip or a gzip.
        cache: folder for unpacked files.
        expected_sha256: of the file or of its CSV; None accepts any.

    Raises:
        SourceRefused: the file cannot be unpacked, or has another sha256.
    """
    csv_path = fetched.path
    csv_sha256 = fetched.sha256
    packing: tuple[str, ...] = ()
    if packing_of(fetched.path):
        csv_path = cache / fetched.sha256 / CSV_NAME
        packing = extract_csv(fetched.path, fetched.name, csv_path)
        csv_sha256 = sha256_of(csv_path)
    if expected_sha256 and expected_sha256.lower() not in (fetched.sha256, csv_sha256):
        raise SourceRefused(
            f"{fetched.name}: sha256 is {fetched.sha256} (CSV: {csv_sha256}), "
            f"but DATASET_SHA256 says {expected_sha256.lower()}; "
            "the file was changed or cut off: fetch it again or correct DATASET_SHA256"
        )
    data_source = fetched.data_source
    if csv_sha256 == UCI_CSV_SHA256:
        data_source = "uci"
    return LocalSource(csv_path, fetched.name, data_source, csv_sha256, packing)


def remove_unpacked(fetched: Fetched, cache: Path) -> None:
    """Remove what `unpack` took out of an archive: nobody needs the CSV of a refused file."""
    shutil.rmtree(cache / fetched.sha256, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_uci(archive: Path) -> bool:
    """Tell whether this is UCI's archive, or another zip of the very same CSV."""
    if sha256_of(archive) == UCI_ARCHIVE_SHA256:
        return True
    try:
        with opened_zip(archive, archive.name) as zip_file:
            member = csv_member(zip_file, archive.name)
            with zip_file.open(member) as file:
                digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    except SourceRefused:
        return False
    return digest.hexdigest() == UCI_CSV_SHA256
