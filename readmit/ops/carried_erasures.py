"""Erasures that a backup does not know: its restore carries them over.

The record of an erasure has a keyed hash and no number. Records are taken from the database that is
replaced and, for when that is lost, from a file beside the backups. A restore writes them into the
restored database before it is switched in, so intake leaves these patients out at once.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from readmit import db, storage
from readmit.intake.csv_file import read_blocks
from readmit.intake.erased_patients import ErasedPatients, normalised
from readmit.intake.source_copies import patient_of
from readmit.ops.backup_folder import BackupFailed
from readmit.settings import BackupSettings, PipelineSettings, StackSettings

FILE = "erasures.json"  # in the folder of the backups
# Numbers of patients that a restored database may hold; files in the bucket come on top.
NUMBERS = {
    "raw": (
        "select distinct patient_nbr from landing.encounters",
        "select distinct new_values ->> 'patient_nbr' from landing.proposals",
    ),
    "clean": (
        "select distinct patient_nbr::text from ops.predictions",
        "select distinct patient_nbr::text from ops.history_lookups",
        "select distinct corrected ->> 'patient_nbr' from ops.corrections",
    ),
}


class Record(NamedTuple):
    """What a record of an erasure says, for another database."""

    patient_hash: str
    key_check: str
    erased_by: str
    begun_at: str


def known(folder: Path, settings: BackupSettings) -> set[Record]:
    """Return the erasures of the database in use, and those of the file beside the backups.

    Raises:
        BackupFailed: the file is damaged.
    """
    path = folder / FILE
    records: set[Record] = set()
    if path.is_file():
        try:
            for entry in json.loads(path.read_bytes()):
                records.add(Record(*entry))
        except (ValueError, TypeError):
            raise BackupFailed(
                f"{path} is damaged: it names patients whom a restore must not bring back. Copy it"
                " from another copy of the backups, or move it away: then only the erasures that"
                " the database in use knows are carried over"
            ) from None
    with (
        db.transaction("postgres", settings.raw_database, settings) as raw,
        raw.cursor() as cur,
    ):
        cur.execute("select to_regclass('landing.erasures') is not null")
        if cur.fetchall() == [(True,)]:
            cur.execute(
                "select patient_hash, key_check, erased_by, begun_at::text from landing.erasures"
            )
            records.update(Record(*row) for row in cur.fetchall())
    return records


def remember(folder: Path, settings: BackupSettings) -> None:
    """Write the known erasures to the file beside the backups, all of them or none.

    A damaged file is moved aside and does not hold up a backup: the database in use knows the
    erasures too.
    """
    try:
        records = known(folder, settings)
    except BackupFailed:
        (folder / FILE).replace(folder / f"{FILE}.damaged")
        records = known(folder, settings)
    if not records:
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = folder / f"{FILE}.new"
    with open(part, "w", encoding="utf-8", opener=_private) as file:
        json.dump(sorted(records), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / FILE)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def carry(records: Iterable[Record], settings: BackupSettings) -> None:
    """Write erasures into the database `raw` of these settings, unless it knows the patient."""
    with (
        db.transaction("postgres", settings.raw_database, settings) as raw,
        raw.cursor() as cur,
    ):
        cur.execute("set local role eraser")
        for record in sorted(records):
            cur.execute(
                "insert into landing.erasures (patient_hash, key_check, erased_by, begun_at)"
                " select %(patient_hash)s, %(key_check)s, %(erased_by)s, %(begun_at)s::timestamptz"
                " where not exists (select from landing.erasures"
                " where patient_hash = %(patient_hash)s and key_check = %(key_check)s)",
                record._asdict(),
            )


def numbers_of_erased(settings: StackSettings) -> list[str]:
    """Return the numbers of erased patients whose rows are here all the same.

    Raises:
        LookupError: patients were erased, and the key is another one or is not set.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        erased = ErasedPatients.read(cur, settings)
    if not erased.hashes:
        return []
    numbers = _numbers_in_files(settings)
    databases = {"raw": settings.raw_database, "clean": settings.clean_database}
    for name, database in databases.items():
        with db.transaction("postgres", database, settings) as connection:
            cur = connection.cursor()
            for query in NUMBERS[name]:
                cur.execute(query)
                numbers.update(str(number).encode() for (number,) in cur.fetchall())
    return sorted({normalised(number).decode() for number in numbers if number in erased})


def _numbers_in_files(settings: PipelineSettings) -> set[bytes]:
    """Return every patient number of the stored source files."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute("select name, object_key from landing.sources")
        sources = cur.fetchall()
    s3 = storage.client("loader", settings)
    numbers: set[bytes] = set()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "source.csv"
        for name, key in sources:
            s3.download_file(settings.s3_pipeline_bucket, key, str(path))
            for block in read_blocks(path, name):
                numbers.update(patient_of(line) for line in block.lines)
    return numbers
