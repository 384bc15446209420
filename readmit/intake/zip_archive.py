"""Take the CSV of encounters out of a zip or gzip, also when one is packed in the other."""

import errno
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from readmit.errors import SourceRefused, printable
from readmit.intake.disk_space import Disk

CSV_NAME = "diabetic_data.csv"
MAPPING_NAME = "ids_mapping.csv"
# The real file has 19 MB; 64 GB is 3,000 times that and stops a zip bomb.
MAX_CSV_BYTES = 64 << 30
# The real file shrinks to a sixth. Files below MAX_RATIO times their archive or SMALL_BYTES pass.
MAX_RATIO = 200
SMALL_BYTES = 200 << 20
MAX_NESTING = 3
# A zip begins with its first file, its end (it is empty), or a mark of its parts.
MAGICS = {"zip": (b"PK\3\4", b"PK\5\6", b"PK\7\x08"), "gzip": (b"\x1f\x8b",)}
CSV_SUFFIXES = (".csv", ".tsv", ".tab")
ARCHIVE_SUFFIXES = (".zip", ".gz")
SPREADSHEETS = {
    "xl/workbook.xml": "an Excel workbook (xlsx)",
    "xl/workbook.bin": "an Excel workbook (xlsb)",
    "content.xml": "an OpenDocument spreadsheet",
    "Index/Document.iwa": "a spreadsheet of Apple Numbers",
    "word/document.xml": "a Word document",
}
# What zipfile and the decompressors raise on bytes that are no zip, or not all of one.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
)


def packing_of(path: Path) -> str:
    """Return "zip" or "gzip" when the file is packed so, else an empty text."""
    with path.open("rb") as file:
        first_bytes = file.read(4)
    for packing, magics in MAGICS.items():
        if first_bytes.startswith(magics):
            return packing
    return ""


def extract_csv(path: Path, name: str, target: Path) -> tuple[str, ...]:
    """Write the CSV of a zip or gzip to `target`, all of it or nothing.

    Args:
        path: the archive.
        name: what error messages call the archive.
        target: file to write; its folder is created.

    Returns:
        What the CSV was packed with, outermost first.

    Raises:
        SourceRefused: the archive is damaged, needs a password, is nested too deep, unpacks to too
            much, or holds no CSV or several.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    max_bytes = min(MAX_CSV_BYTES, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
    packings: list[str] = []
    with TemporaryDirectory(dir=target.parent) as folder:
        packed = path
        while packing := packing_of(packed):
            if len(packings) == MAX_NESTING:
                raise SourceRefused(
                    f"{name}: is packed more than {MAX_NESTING} times; send the CSV or a zip of it"
                )
            packings.append(packing)
            unpacked = Path(folder) / f"{len(packings)}.part"
            if packing == "zip":
                _unzip(packed, name, unpacked, max_bytes)
            else:
                _gunzip(packed, name, unpacked, max_bytes)
            if packed != path:
                packed.unlink()
            packed = unpacked
        os.replace(packed, target)
    return tuple(packings)


def _unzip(path: Path, name: str, target: Path, max_bytes: int) -> None:
    with opened_zip(path, name) as archive:
        member = csv_member(archive, name)
        _check_size(member.file_size, max_bytes, name)
        Disk.below(target.parent).ensure_room(name, member.file_size)
        with archive.open(member) as packed:
            _copy(packed, target, max_bytes, name)


def _gunzip(path: Path, name: str, target: Path, max_bytes: int) -> None:
    try:
        with gzip.open(path) as packed:
            _copy(packed, target, max_bytes, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _damaged(name, error, "gzip") from error


def _copy(packed: IO[bytes] | gzip.GzipFile, target: Path, max_bytes: int, name: str) -> None:
    """Write what is unpacked, and stop when it is too much: an archive may lie about its size."""
    n_bytes = 0
    disk = Disk.below(target.parent)
    with target.open("wb") as file:
        while chunk := packed.read(1 << 20):
            n_bytes += len(chunk)
            _check_size(n_bytes, max_bytes, name)
            disk.ensure_room(name, len(chunk))
            file.write(chunk)


def _check_size(n_bytes: int, max_bytes: int, name: str) -> None:
    if n_bytes > max_bytes:
        raise SourceRefused(
            f"{name}: unpacks to more than {max_bytes >> 20} MB, too much for an archive of its "
            "size; send the CSV itself, or split it into files"
        )


@contextmanager
def opened_zip(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip for the block; a fault of the zip in the block becomes `SourceRefused`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGED as error:
        raise _damaged(name, error) from error
    except NotImplementedError as error:
        raise SourceRefused(
            f"{name}: the zip is packed in a way that only some programs read ({error}); "
            "pack it as an ordinary zip (Deflate) or gzip"
        ) from error
    except RuntimeError as error:
        raise SourceRefused(
            f"{name}: the zip is encrypted, or cannot be opened; send it without a password"
        ) from error
    except OSError as error:
        # A zip that names impossible offsets gives EINVAL. Any other errno is the disk's fault.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(name, error) from error


def csv_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Find the encounters: at the root or in a folder, with or without the file of code names.

    A zip without a CSV may hold one archive, in which the CSV is looked for next.

    Raises:
        SourceRefused: there is none, or there are several.
    """
    members = archive.namelist()
    for member, title in SPREADSHEETS.items():
        if member in members:
            raise SourceRefused(
                f"{name}: is {title}, not a CSV; save its sheet as CSV (UTF-8), all columns as text"
            )
    by_rank: dict[int, list[zipfile.ZipInfo]] = {}
    for entry in archive.infolist():
        rank = _rank(entry.filename)
        if rank is not None:
            by_rank.setdefault(rank, []).append(entry)
    candidates = by_rank[min(by_rank)] if by_rank else []
    if len(candidates) == 1:
        return candidates[0]
    problem = "holds more than one CSV of encounters"
    if not candidates:
        problem = "holds no CSV of encounters"
    content = printable(", ".join(members[:8])) or "nothing"
    raise SourceRefused(
        f"{name}: the zip {problem} (it holds: {content}); put one {CSV_NAME} into it"
    )


def _rank(path: str) -> int | None:
    """Return how likely a file of a zip has the encounters, 0 before all; None if it has not."""
    # Some programs for Windows separate folders by a backslash.
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    # What macOS keeps of its own beside the files.
    if path.startswith("__MACOSX/") or name.startswith("._"):
        return None
    if name == CSV_NAME:
        return 0
    if name.endswith(CSV_SUFFIXES):
        return None if name == MAPPING_NAME else 1
    if name.endswith(ARCHIVE_SUFFIXES):
        return 2
    # pandas calls the CSV in its x.zip `x`.
    return 3 if name and "." not in name else None


def _damaged(name: str, error: Exception, packing: str = "zip") -> SourceRefused:
    return SourceRefused(
        f"{name}: the {packing} is damaged or cut off ({printable(str(error))}); fetch it again"
    )
