"""Take the CSV of encounters out of a zip."""

import errno
import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from readmit.errors import SourceRefused, printable
from readmit.intake.download import ensure_room

CSV_NAME = "diabetic_data.csv"
MAPPING_NAME = "ids_mapping.csv"
# The real file has 19 MB; 64 GB is 3,000 times that and stops a zip bomb.
MAX_CSV_BYTES = 64 << 30
# What zipfile and the decompressors raise on bytes that are no zip, or not all of one.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
)


def extract_csv(path: Path, name: str, target: Path) -> None:
    """Write the CSV of a zip to `target`, all of it or nothing.

    Args:
        path: the zip.
        name: what error messages call the zip.
        target: file to write; its folder is created.

    Raises:
        SourceRefused: the zip is damaged, needs a password, or holds no CSV or several.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened_zip(path, name) as archive:
        member = csv_member(archive, name)
        ensure_room(target.parent, member.file_size, name)
        with NamedTemporaryFile(dir=target.parent, delete=False) as part:
            try:
                with archive.open(member) as packed:
                    shutil.copyfileobj(packed, part, 1 << 20)
            except BaseException:
                Path(part.name).unlink()
                raise
        os.replace(part.name, target)


@contextmanager
def opened_zip(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip for the block; a fault of the zip in the block becomes `SourceRefused`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGED as error:
        raise _damaged(name, error) from error
    except RuntimeError as error:
        raise SourceRefused(
            f"{name}: the zip cannot be opened ({error}); send it without a password"
        ) from error
    except OSError as error:
        # A zip that names impossible offsets gives EINVAL. Any other errno is the disk's fault.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(name, error) from error


def csv_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Find the encounters: at the root or in a folder, with or without the file of code names.

    Raises:
        SourceRefused: there is none, there are several, or it is too large.
    """
    named = []
    others = []
    for entry in archive.infolist():
        file_name = Path(entry.filename).name.lower()
        if not file_name.endswith(".csv") or entry.filename.startswith("__MACOSX/"):
            continue
        if file_name == CSV_NAME:
            named.append(entry)
        elif file_name != MAPPING_NAME:
            others.append(entry)
    candidates = named or others
    if len(candidates) != 1:
        problem = "holds more than one CSV of encounters"
        if not candidates:
            problem = "holds no CSV of encounters"
        content = printable(", ".join(archive.namelist()[:8])) or "nothing"
        raise SourceRefused(
            f"{name}: the zip {problem} (it holds: {content}); put one {CSV_NAME} into it"
        )
    member = candidates[0]
    if member.file_size > MAX_CSV_BYTES:
        raise SourceRefused(
            f"{name}: {printable(member.filename)} unpacks to {member.file_size} bytes; "
            "split it into files"
        )
    return member


def _damaged(name: str, error: Exception) -> SourceRefused:
    return SourceRefused(
        f"{name}: the zip is damaged or cut off ({printable(str(error))}); fetch it again"
    )
