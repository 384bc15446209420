"""Cut a source file into slices: the rows of one batch each, ready for COPY."""

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4

from readmit.intake.csv_fields import values_of
from readmit.intake.csv_rows import NumberedRow
from readmit.intake.row_digests import digest_of, encounter_key
from readmit.intake.split import ORDER, Split, split_of

PATIENT_COLUMN = 1


class Readable(Protocol):
    """The origin of a slice's body: an S3 response or a file."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        ...


@dataclass(frozen=True)
class Slice:
    """The rows of one planned batch.

    `body` is their CSV for COPY: batch id, source row, then the row in canonical form. It has
    `n_rows` rows less the `n_erased` rows of erased patients. `digests` is for COPY into
    `landing.row_digests`, by which later files recognise these rows.
    """

    batch_id: str
    split: Split
    ordinal: int
    first_source_row: int
    last_source_row: int
    n_rows: int
    n_erased: int
    content_sha256: str
    body: bytes
    digests: bytes


@dataclass
class OpenSlice:
    """A slice that is still being filled: the number and the line of each of its rows.

    A row of an erased patient has no line. It counts as a row, and has a digest that no row has, so
    that the slices of a file have the same bounds before and after an erasure.
    """

    batch_id: str
    split: Split
    ordinal: int
    n_rows: int = 0
    first_row: int = 0
    last_row: int = 0
    rows: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    erased_rows: list[int] = field(default_factory=list)

    def add(self, row: int, line: bytes, *, is_erased: bool) -> None:
        """Add the next row."""
        self.first_row = self.first_row or row
        self.last_row = row
        self.n_rows += 1
        if is_erased:
            self.erased_rows.append(row)
        else:
            self.rows.append(row)
            self.lines.append(line)

    def close(self) -> Slice:
        """Return the slice with its body for COPY."""
        prefix = self.batch_id.encode()
        body = b"".join(
            b"%b,%d,%b\n" % (prefix, row, line)
            for row, line in zip(self.rows, self.lines, strict=True)
        )
        digests = "".join(
            f"{encounter_key(line)},{digest_of(line)},{self.batch_id},{row}\n"
            for row, line in zip(self.rows, self.lines, strict=True)
        )
        digests += "".join(f",{uuid4()},{self.batch_id},{row}\n" for row in self.erased_rows)
        return Slice(
            batch_id=self.batch_id,
            split=self.split,
            ordinal=self.ordinal,
            first_source_row=self.first_row,
            last_source_row=self.last_row,
            n_rows=self.n_rows,
            n_erased=len(self.erased_rows),
            content_sha256=hashlib.sha256(b"\n".join(self.lines) + b"\n").hexdigest(),
            body=body,
            digests=digests.encode(),
        )


def cut(
    rows: Iterable[NumberedRow],
    source_sha256: str,
    batch_size: int,
    erased_patients: Container[bytes] = (),
) -> Iterator[Slice]:
    """Yield the slices of a file as they fill.

    Train rows come in slices of `batch_size` rows; validation and test rows in one slice each, at
    the end of the file.

    Args:
        rows: number in the file and canonical form of each row that belongs to a batch, checked
            (`readmit.intake.csv_file.read_blocks`).
        source_sha256: of the CSV; part of each batch id.
        batch_size: rows of a train batch; the last one may be smaller.
        erased_patients: whose rows are counted and left out (`ErasedPatients`).
    """
    open_slices = {split: open_slice(split, 1, source_sha256) for split in ORDER}
    for row, line in rows:
        values = values_of(line) if b'"' in line else line.split(b",", 2)
        patient_nbr = values[PATIENT_COLUMN]
        current = open_slices[split_of(patient_nbr)]
        current.add(row, line, is_erased=patient_nbr in erased_patients)
        if current.split == "train" and current.n_rows == batch_size:
            yield current.close()
            open_slices["train"] = open_slice("train", current.ordinal + 1, source_sha256)
    for current in open_slices.values():
        if current.n_rows:
            yield current.close()


def open_slice(split: Split, ordinal: int, source_sha256: str) -> OpenSlice:
    """Return an empty slice; its batch is named like `train-003-0689e7ec`."""
    return OpenSlice(f"{split}-{ordinal:03d}-{source_sha256[:8]}", split, ordinal)


class Checked:
    """A slice's body as a file for COPY, hashed while it is read: no second pass is needed."""

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
        """Return the `content_sha256` of what was read: over the rows in canonical form.

        A last row without its line end counts as it is, so a body that was cut off never has the
        expected hash.
        """
        digest = self._digest.copy()
        digest.update(self._rest)
        return digest.hexdigest()
