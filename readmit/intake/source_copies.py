"""Copies of a source file without the rows of erased patients."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from readmit.errors import SourceRefused
from readmit.intake.csv_fields import values_of
from readmit.intake.csv_file import read_blocks
from readmit.intake.layout import COLUMNS
from readmit.intake.slices import PATIENT_COLUMN
from readmit.intake.source_file import Fetched, unpack

HEADER = ",".join(COLUMNS).encode() + b"\n"


def write_without(path: Path, name: str, is_erased: Callable[[bytes], bool], target: Path) -> int:
    """Write the rows of a file in canonical form, those of erased patients left out.

    Args:
        path: an unpacked CSV.
        name: what error messages call the file.
        is_erased: tells of a patient number, as it stands in the file, whether to leave it out.
        target: the file that is written.

    Returns:
        How many rows were left out.
    """
    n_erased = 0
    with target.open("wb") as file:
        file.write(HEADER)
        for block in read_blocks(path, name):
            for line in block.lines:
                if is_erased(patient_of(line)):
                    n_erased += 1
                else:
                    file.write(line + b"\n")
    return n_erased


def unpack_without(
    fetched: Fetched, is_erased: Callable[[bytes], bool], target: Path
) -> int | None:
    """Do what `write_without` does to a file that may be packed.

    Returns:
        How many rows were left out; None if the file cannot be read to its end.
    """
    with TemporaryDirectory(dir=target.parent) as folder:
        try:
            source = unpack(fetched, Path(folder), None)
            return write_without(source.path, source.name, is_erased, target)
        except SourceRefused:
            return None


def patient_of(line: bytes) -> bytes:
    """Return the patient number of a row in canonical form, as it stands there."""
    values = values_of(line) if b'"' in line else line.split(b",", PATIENT_COLUMN + 1)
    return values[PATIENT_COLUMN]
