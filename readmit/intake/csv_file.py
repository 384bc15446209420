"""Read a source CSV once, in blocks; refuse it at the first byte that cannot be loaded unchanged.

Only the form of the file is checked here: columns, fields, bytes. SQL judges the values later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

from readmit.errors import SourceRefused
from readmit.intake.canonical import canonical
from readmit.intake.csv_header import read_header
from readmit.intake.csv_rows import Block, check_rows
from readmit.intake.dialect import Dialect
from readmit.intake.layout import MAX_LINE_BYTES
from readmit.intake.number_forms import check_numbers
from readmit.tables.encodings import open_as_utf8

BLOCK_BYTES = 2 << 20


def dialect_of(path: Path, name: str) -> Dialect:
    """Return the dialect of an unpacked CSV.

    Raises:
        SourceRefused: the header is not that of the source.
    """
    with _opened(path, name) as (_, dialect):
        return dialect


def read_blocks(path: Path, name: str) -> Iterator[Block]:
    """Yield all rows of the file in canonical form, in blocks of about 2 MB.

    A block is checked before it is yielded.

    Args:
        path: an unpacked CSV.
        name: what error messages call the file.

    Raises:
        SourceRefused: at the first fault; the message names file, row, column and what to do.
    """
    with _opened(path, name) as (file, dialect):
        row = 1
        while data := file.read(BLOCK_BYTES):
            if not data.endswith(b"\n"):
                # The rest of the line. If it is longer than this, the check of rows refuses it.
                data += file.readline(MAX_LINE_BYTES)
            lines = data.replace(b"\r\n", b"\n").split(b"\n")
            if not lines[-1]:
                lines.pop()
            # Editors leave blank lines at the end of a file; elsewhere a blank line is a lost row.
            is_end = not file.peek(1)
            while is_end and lines and not lines[-1]:
                lines.pop()
            block = Block(row, lines)
            check_rows(block, data, name, dialect)
            block = canonical(block, name, dialect)
            check_numbers(block, name, dialect)
            row += len(block.lines)
            yield block
    if row == 1:
        raise SourceRefused(
            f"{name}: row 1, column encounter_id: "
            "the file has a header and no rows; send one with rows"
        )


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[BufferedReader, Dialect]]:
    """Open the file at its first row, with its dialect."""
    with FileIO(path) as raw:
        file, encoding = open_as_utf8(raw)
        yield file, read_header(file, encoding, name)
