"""Cut a source file into batches once: one COPY-ready object in S3 per batch, and the plan that names them."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from readmit.intake.csv_file import Block, values_of
from readmit.intake.split import ORDER, Split, split_of

PATIENT_COLUMN = 1


class Readable(Protocol):
    """What a slice's body is read from: an S3 answer or a file."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        ...


@dataclass(frozen=True)
class Slice:
    """One planned batch. `body` is its CSV for COPY: batch id, source row, then the row as it stands in the file."""

    batch_id: str
    split: Split
    ordinal: int
    first_source_row: int
    last_source_row: int
    n_rows: int
    content_sha256: str
    body: bytes


@dataclass
class _Open:
    """A slice that is still being filled."""

    batch_id: str
    split: Split
    ordinal: int
    rows: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def close(self) -> Slice:
        prefix = self.batch_id.encode()
        body = b"".join(
            b"%b,%d,%b\n" % (prefix, row, line)
            for row, line in zip(self.rows, self.lines, strict=True)
        )
        content = hashlib.sha256(b"\n".join(self.lines) + b"\n").hexdigest()
        first, last = self.rows[0], self.rows[-1]
        return Slice(
            self.batch_id, self.split, self.ordinal, first, last, len(self.rows), content, body
        )


def batch_id_of(split: str, ordinal: int, source_sha256: str) -> str:
    """Name a batch: `train-003-0689e7ec`."""
    return f"{split}-{ordinal:03d}-{source_sha256[:8]}"


def cut(blocks: Iterable[Block], source_sha256: str, batch_size: int) -> Iterator[Slice]:
    """Yield the slices of a file as they fill: train in `batch_size` rows, validation and test whole, at the end.

    Args:
        blocks: all rows of the file, checked (`readmit.intake.csv_file.read_blocks`).
        source_sha256: of the CSV; part of each batch id.
        batch_size: rows of a train batch; the last one may be smaller.
    """
    filling = {split: _Open(batch_id_of(split, 1, source_sha256), split, 1) for split in ORDER}
    for block in blocks:
        for row, line in enumerate(block.lines, block.first_row):
            current = filling[split_of(_patient(line))]
            current.rows.append(row)
            current.lines.append(line)
            if current.split == "train" and len(current.rows) == batch_size:
                yield current.close()
                ordinal = current.ordinal + 1
                filling["train"] = _Open(
                    batch_id_of("train", ordinal, source_sha256), "train", ordinal
                )
    yield from (current.close() for current in filling.values() if current.rows)


class Checked:
    """A slice's body as a file for COPY: it is hashed while it is read, so that checking costs no second pass."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self._digest = hashlib.sha256()
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` further bytes, b"" at the end."""
        chunk = self._body.read(size)
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._digest.update(line.split(b",", 2)[-1] + b"\n")
        return chunk

    def content_sha256(self) -> str:
        """Return the `content_sha256` of what was read: over the rows as they stand in the file.

        A last row without its line end counts as it is, so a body that was cut off never has the expected hash.
        """
        digest = self._digest.copy()
        digest.update(self._rest)
        return digest.hexdigest()


def _patient(line: bytes) -> bytes:
    if b'"' in line:
        return values_of(line)[PATIENT_COLUMN]
    return line.split(b",", 2)[PATIENT_COLUMN]
