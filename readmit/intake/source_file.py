"""Where the data comes from: `DATASET` (path or URL), else UCI's archive, else the embedded sample."""

import errno
import hashlib
import logging
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

from readmit.errors import SourceRefused, shown
from readmit.intake.download import SourceUnreachable, address_shown, download, ensure_room
from readmit.settings import Settings

log = logging.getLogger(__name__)

DataSource = Literal["uci", "file", "url", "sample"]

UCI_URL = "https://archive.ics.uci.edu/static/public/296/diabetes+130-us+hospitals+for+years+1999-2008.zip"
UCI_ARCHIVE_SHA256 = "f82ac129da2ddd2299391ff6fbae3a6a58b3edcf59ac9d7bd480c00fe453112a"
UCI_CSV_SHA256 = "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97"
CSV_NAME = "diabetic_data.csv"
MAPPING_NAME = "ids_mapping.csv"
# The real file has 19 MB; 64 GB is 3,000 times that and stops a zip bomb.
MAX_CSV_BYTES = 64 << 30


@dataclass(frozen=True)
class Fetched:
    """A file as it was given or downloaded: a CSV or a zip, not looked into yet."""

    path: Path
    name: str
    data_source: DataSource
    sha256: str


@dataclass(frozen=True)
class LocalSource:
    """A CSV on this machine; `sha256` is over its bytes, whatever it was packed in."""

    path: Path
    name: str
    data_source: DataSource
    sha256: str


def resolve(settings: Settings) -> LocalSource:
    """Return the CSV that the settings name, on this machine.

    Raises:
        SourceRefused: it cannot be read; the message says what to do.
        SourceUnreachable: `DATASET` is an address that does not answer.
    """
    return unpack(fetch(settings), settings)


def fetch(settings: Settings) -> Fetched:
    """Return the file that the settings name, downloaded when it is an address; see `resolve` for errors."""
    cache = settings.readmit_home / "sources"
    cache.mkdir(parents=True, exist_ok=True)
    if not settings.dataset:
        return _default(cache)
    if is_address(settings.dataset):
        check(settings.dataset)
        target = (
            cache / f"{hashlib.sha256(os.fsencode(settings.dataset)).hexdigest()[:16]}.download"
        )
        download(settings.dataset, target)
        return Fetched(target, address_shown(settings.dataset), "url", sha256_of(target))
    return fetch_file(Path(os.path.expanduser(settings.dataset)))


def file_mark(settings: Settings) -> Path | None:
    """Return where to keep the sha256 of the file that `DATASET` names, so that it is not read again while unchanged.

    The name of that place changes with the file: its path, inode, size and times. None for addresses and missing files.
    """
    path = Path(os.path.expanduser(settings.dataset or ""))
    if not settings.dataset or not os.path.isfile(
        path
    ):  # which, unlike Path's, is only false where one may not look
        return None
    seen = path.stat()
    facts = (
        path.resolve(),
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        settings.dataset_sha256,
    )
    return (
        settings.readmit_home
        / "sources"
        / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.known"
    )


def is_address(dataset: str) -> bool:
    """Tell whether `DATASET` is an address, not a path."""
    return "://" in dataset


def check(dataset: str) -> None:
    """Refuse what can be seen to be no source file without reading it.

    Raises:
        SourceRefused: an address that nothing is fetched from, or a path at which there is no file that can be read.
    """
    if not is_address(dataset):
        _check_file(Path(os.path.expanduser(dataset)))
    elif not dataset.lower().startswith(("http://", "https://")):
        raise SourceRefused(
            f"{address_shown(dataset)}: addresses begin with http:// or https://; "
            "of a file on this machine give the path"
        )


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb").close()
    except (FileNotFoundError, ValueError) as error:  # a NUL byte is in no path
        raise _no_file(path, "does not exist") from error
    except OSError as error:
        raise _no_file(path, f"cannot be read by this user ({error.strerror})") from error
    raise _no_file(
        path,
        "is a folder, not a file" if stat.S_ISDIR(mode) else "is a pipe or a device, not a file",
    )


def _no_file(path: Path, what: str) -> SourceRefused:
    return SourceRefused(
        f"{shown(str(path))} {what}; set DATASET to the CSV or the zip (absolute, or from the repository)"
    )


def fetch_file(path: Path) -> Fetched:
    """Return a file of this machine.

    Raises:
        SourceRefused: there is no such file, or it cannot be opened.
    """
    _check_file(path)
    return Fetched(path, shown(path.name), "file", sha256_of(path))


def unpack(fetched: Fetched, settings: Settings) -> LocalSource:
    """Return the CSV of a fetched file, taken out of its zip when it is one, with `DATASET_SHA256` checked."""
    csv_path = fetched.path
    if _starts_with(fetched.path, b"PK"):
        csv_path = _extract(fetched, settings.readmit_home / "sources")
    elif _starts_with(fetched.path, b"\x1f\x8b"):
        raise SourceRefused(f"{fetched.name}: is packed with gzip; send the CSV or a zip")
    csv_sha256 = sha256_of(csv_path) if csv_path != fetched.path else fetched.sha256
    expected = (settings.dataset_sha256 or "").lower()
    if expected and expected not in (fetched.sha256, csv_sha256):
        raise SourceRefused(
            f"{fetched.name}: sha256 is {fetched.sha256} (CSV: {csv_sha256}), but DATASET_SHA256 says {expected}; "
            "the file was changed or cut off: fetch it again or correct DATASET_SHA256"
        )
    data_source: DataSource = "uci" if csv_sha256 == UCI_CSV_SHA256 else fetched.data_source
    return LocalSource(csv_path, fetched.name, data_source, csv_sha256)


def remove_unpacked(fetched: Fetched, settings: Settings) -> None:
    """Remove what `unpack` took out of a zip: of a file that was refused nobody needs it."""
    shutil.rmtree(settings.readmit_home / "sources" / fetched.sha256, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _default(cache: Path) -> Fetched:
    """UCI's archive from the cache or the network; the embedded sample, loudly, when neither works."""
    archive = cache / "uci.zip"
    try:
        if not archive.is_file() or not _is_uci(archive):
            download(UCI_URL, archive)
        if _is_uci(archive):
            return Fetched(
                archive,
                "diabetes+130-us+hospitals+for+years+1999-2008.zip",
                "uci",
                sha256_of(archive),
            )
        why = "UCI's archive has another sha256 than expected"
    except (SourceUnreachable, SourceRefused) as error:
        why = str(error)
    log.warning("!" * 100)
    log.warning("NOT THE REAL DATA: the embedded SAMPLE is used, because: %s", why)
    log.warning("Set DATASET to the CSV or the zip of UCI dataset 296 to use the real data.")
    log.warning("!" * 100)
    return _sample(cache)


def _is_uci(archive: Path) -> bool:
    """Tell whether this is UCI's archive, or another zip of the very same CSV."""
    if sha256_of(archive) == UCI_ARCHIVE_SHA256:
        return True
    try:
        with (
            _opened(archive, archive.name) as opened,
            opened.open(_member(opened, archive.name)) as file,
        ):
            return hashlib.file_digest(file, "sha256").hexdigest() == UCI_CSV_SHA256  # type: ignore[arg-type]
    except SourceRefused:
        return False


def _sample(cache: Path) -> Fetched:
    from readmit.intake import sample

    target = cache / "sample.csv"
    if not target.is_file():
        sample.write_csv(target)
    return Fetched(target, "embedded sample", "sample", sha256_of(target))


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _extract(fetched: Fetched, cache: Path) -> Path:
    """Take the CSV out of the zip, whole or not at all; a second call finds it there."""
    target = cache / fetched.sha256 / CSV_NAME
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(fetched.path, fetched.name) as archive:
        member = _member(archive, fetched.name)
        ensure_room(target.parent, member.file_size, fetched.name)
        _copy_member(archive, member, target)
    return target


@contextmanager
def _opened(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """A zip that is open for the block; whatever is wrong with it in there becomes a refusal."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise _damaged(name, error) from error
    except RuntimeError as error:
        raise SourceRefused(
            f"{name}: the zip cannot be opened ({error}); send it without a password"
        ) from error
    except OSError as error:
        if error.errno not in (
            None,
            errno.EINVAL,
        ):  # the disk's fault, not that of places and blocks named in the zip
            raise
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> SourceRefused:
    return SourceRefused(
        f"{name}: the zip is damaged or cut off ({shown(str(error))}); fetch it again"
    )


def _copy_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with NamedTemporaryFile(dir=target.parent, delete=False) as part:
        try:
            with archive.open(member) as packed:
                shutil.copyfileobj(packed, part, 1 << 20)
        except BaseException:
            Path(part.name).unlink()
            raise
    os.replace(part.name, target)


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Find the encounters: at the root or in a folder, beside a mapping in either spelling."""
    csvs = [
        entry
        for entry in archive.infolist()
        if entry.filename.lower().endswith(".csv") and not entry.filename.startswith("__MACOSX/")
    ]
    named = [entry for entry in csvs if Path(entry.filename).name.lower() == CSV_NAME]
    others = [entry for entry in csvs if Path(entry.filename).name.lower() != MAPPING_NAME]
    found = named or others
    if len(found) != 1:
        holds = shown(", ".join(archive.namelist()[:8])) or "nothing"
        what = (
            "holds no CSV of encounters" if not found else "holds more than one CSV of encounters"
        )
        raise SourceRefused(
            f"{name}: the zip {what} (it holds: {holds}); put one {CSV_NAME} into it"
        )
    if found[0].file_size > MAX_CSV_BYTES:
        raise SourceRefused(
            f"{name}: {shown(found[0].filename)} unpacks to {found[0].file_size} bytes; split it into files"
        )
    return found[0]
